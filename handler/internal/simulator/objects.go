package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
)

// objects are what exists on one resource only: files, batches, vector stores,
// assistants, threads, conversations. They have ids and can be listed, read and
// deleted; nothing is done with them.
type objects struct {
	mu    sync.Mutex
	kinds map[string][]object
}

type object struct {
	ID      string
	Kind    string
	JSON    []byte
	Content []byte
}

// objectPrefix is the prefix of ids by kind; it also lists the kinds.
var objectPrefix = map[string]string{
	"files": "file-", "batches": "batch_", "vector_stores": "vs_", "assistants": "asst_", "threads": "thread_",
	"conversations": "conv_", "fine_tuning/jobs": "ftjob-", "evals": "eval_", "containers": "cntr_", "uploads": "upload_",
	"videos": "video_", "skills": "skill_",
}

func newObjects() *objects {
	o := &objects{}
	o.reset()
	return o
}

func (o *objects) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kinds = map[string][]object{}
}

func (o *objects) add(ob object) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kinds[ob.Kind] = append(o.kinds[ob.Kind], ob)
}

func (o *objects) find(kind, id string) (object, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, ob := range o.kinds[kind] {
		if ob.ID == id {
			return ob, true
		}
	}
	return object{}, false
}

func (o *objects) has(kind, id string) bool {
	_, ok := o.find(kind, id)
	return ok
}

func (o *objects) remove(kind, id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := len(o.kinds[kind])
	o.kinds[kind] = slices.DeleteFunc(o.kinds[kind], func(ob object) bool { return ob.ID == id })
	return len(o.kinds[kind]) < before
}

func (o *objects) list(kind string) []object {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.kinds[kind])
}

// object serves one kind: create, list, get, delete, a file's content, cancel.
func (c *call) object() {
	kind := c.route.operation
	switch {
	case len(c.route.rest) == 0 && c.r.Method == http.MethodPost:
		c.createObject(kind)
	case len(c.route.rest) == 0 && c.r.Method == http.MethodGet:
		c.listObjects(kind)
	case len(c.route.rest) == 0:
		c.writeError(resourceNotFound())
	default:
		c.oneObject(kind, c.route.rest[0])
	}
}

func (c *call) oneObject(kind, id string) {
	ob, ok := c.res.objects.find(kind, id)
	if !ok {
		c.writeError(objectNotFound(id))
		return
	}
	verb := ""
	if len(c.route.rest) > 1 {
		verb = c.route.rest[1]
	}
	switch {
	case c.r.Method == http.MethodDelete && verb == "":
		c.res.objects.remove(kind, id)
		c.writeResponse(http.StatusOK, "", fmt.Appendf(nil, `{"id":%s,"object":%s,"deleted":true}`, quote(id), quote(objectName(kind))))
	case c.r.Method == http.MethodGet && verb == "content" && kind == "files":
		c.writeResponse(http.StatusOK, "application/octet-stream", ob.Content)
	case verb == "" || verb == "cancel":
		c.writeResponse(http.StatusOK, "", ob.JSON)
	default:
		c.writeError(resourceNotFound())
	}
}

func objectNotFound(id string) *apiError {
	return &apiError{name: "404-object", status: http.StatusNotFound, body: openaiBody("No such object: "+id, "invalid_request_error", "id", "")}
}

func objectName(kind string) string {
	switch kind {
	case "files":
		return "file"
	case "batches":
		return "batch"
	case "vector_stores":
		return "vector_store"
	case "fine_tuning/jobs":
		return "fine_tuning.job"
	default:
		return kind[:len(kind)-1]
	}
}

func (c *call) createObject(kind string) {
	if kind == "files" && c.request.FileName == "" {
		c.writeError(missingParameter(true, "file"))
		return
	}
	if kind == "batches" && !c.res.objects.has("files", c.request.InputFileID) {
		c.writeError(objectNotFound(c.request.InputFileID))
		return
	}
	ob := object{ID: c.svc.identifier(objectPrefix[kind], c.seq, 5)[:len(objectPrefix[kind])+24], Kind: kind, Content: c.request.File}
	ob.JSON = c.objectJSON(kind, ob.ID)
	c.res.objects.add(ob)
	c.writeResponse(http.StatusOK, "", ob.JSON)
}

func (c *call) objectJSON(kind, id string) []byte {
	fields := map[string]any{"id": id, "object": objectName(kind), "created_at": c.arrived.Unix()}
	switch kind {
	case "files":
		fields["bytes"], fields["filename"] = len(c.request.File), c.request.FileName
		fields["purpose"], fields["status"] = c.request.Form["purpose"], "processed"
	case "batches":
		fields["status"], fields["input_file_id"], fields["completion_window"] = "validating", c.request.InputFileID, "24h"
	case "vector_stores", "fine_tuning/jobs":
		fields["status"] = "completed"
	}
	return marshal(fields)
}

func (c *call) listObjects(kind string) {
	data := []byte(`{"object":"list","data":[`)
	for i, ob := range c.res.objects.list(kind) {
		if i > 0 {
			data = append(data, ',')
		}
		data = append(data, ob.JSON...)
	}
	c.writeResponse(http.StatusOK, "", append(data, `],"has_more":false}`...))
}

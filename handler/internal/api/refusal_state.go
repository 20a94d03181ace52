package api

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"spillway/handler/internal/proxy"
)

// notHeld is the answer for what nobody holds, and for what is another
// consumer's: the two cannot be told apart. It begins as OpenAI's does.
func notHeld(ref reference) *Refusal {
	f := &Refusal{Status: http.StatusNotFound, Type: invalidRequest, Code: "not_found", Param: ref.param, Final: true}
	noun := strings.ToUpper(ref.kind[:1]) + ref.kind[1:]
	if ref.param == "previous_response_id" {
		f.Code, noun = "previous_response_not_found", "Previous response"
	}
	f.Message = fmt.Sprintf("%s with id '%s' not found. It may have been deleted, or have run out after 30 days; begin anew without it.", noun, printable(ref.id))
	return f
}

// heldElsewhere is a reference to what a backend holds that does not serve the
// model.
func heldElsewhere(req *proxy.Request, ref reference) *Refusal {
	return &Refusal{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "model_mismatch", Param: ref.param, Final: true,
		Message: fmt.Sprintf("The %s '%s' is held by a backend that does not serve the model %q. Go on with the model that it was made with, or begin anew without it.",
			ref.kind, printable(ref.id), printable(req.Model)),
	}
}

// notToBeFound is a reference that cannot be followed now.
func notToBeFound(ref reference, cause error) *Refusal {
	return &Refusal{
		Status: http.StatusServiceUnavailable, Type: serverError, Code: "no_backend_available", Wait: 2 * time.Second, Cause: cause,
		Message: fmt.Sprintf("Which backend holds the %s '%s' cannot be found out at the moment. Please retry after 2 seconds.", ref.kind, printable(ref.id)),
	}
}

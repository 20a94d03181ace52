package document

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"spillway/handler/internal/config/jsondoc"
)

// Check looks for everything that is wrong with a document but needs more than
// one of its values to see. What follows from a fault already found is not
// reported again. region is where this instance runs, "" when that is unknown.
func (r *Report) Check(d *Document, region string) {
	for i := range d.Backends {
		r.checkBackend(jsondoc.Index("backends", i), &d.Backends[i])
	}
	r.checkDuplicates(d)
	r.checkPolicies(d)
	if r.servingUncertain() {
		return
	}
	l := NewLayout(d, region)
	r.checkModels(l)
	r.checkIdentities(l)
	r.checkConsumers(l)
	r.checkAdoption(d)
	r.checkFences(d, region)
	r.warnOfNulls()
}

// servingPaths is the paths that decide which model is served where.
var servingPaths = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(backends|models)(\[[^\]]*\]|\.[A-Za-z0-9_]+)?(\.(deployments|geography|priority|priorityIn|aliases)\b.*)?$`)
})

// servingUncertain reports whether it is uncertain which model is served where, so that
// whatever refers to models would be reported for nothing.
func (r *Report) servingUncertain() bool {
	return slices.ContainsFunc(r.Faults, func(f jsondoc.Fault) bool { return servingPaths().MatchString(f.Path) })
}

// checkDuplicates looks for backends that cannot be distinguished, or add nothing.
func (r *Report) checkDuplicates(d *Document) {
	names := map[string]int{}
	places := map[string]*Backend{}
	drained := len(d.Backends) > 0
	for i := range d.Backends {
		b := &d.Backends[i]
		at := jsondoc.Index("backends", i)
		if first, again := names[strings.ToLower(b.Name)]; again && b.Name != "" {
			r.Fault(jsondoc.Join(at, "name"), quoted(b.Name)+" is the name of "+jsondoc.Index("backends", first)+" too", "Give each backend a name of its own.")
		} else {
			names[strings.ToLower(b.Name)] = i
		}
		drained = drained && b.Weight == 0
		for _, pair := range b.Deployments {
			place := strings.ToLower(strings.TrimRight(b.Endpoint, "/") + " " + pair.Name + " " + pair.Value)
			switch other := places[place]; {
			case other == nil || b.Endpoint == "" || other.Name == b.Name:
			case other.Geography != b.Geography:
				r.twoGeographies(i, b, other)
			default:
				r.Fault(jsondoc.Join(at, "deployments"), "sends "+quoted(pair.Name)+" to the same deployment as backend "+quoted(other.Name), "Remove one of the two: a deployment has no more capacity for being named twice. Use weight for a larger share.")
			}
			places[place] = b
		}
	}
	if drained && !r.Faults.Under("backends") {
		r.Fault("backends", "are all drained: every weight is 0", "Give at least one backend a weight of 1 or more.")
	}
}

// Report collects the faults of a document and its warnings. The zero
// Report is ready for a document that is no text.
type Report struct {
	Tree     *jsondoc.Tree     // of the text; nil when there is none
	Names    map[string]string // what paths are called that were not written as such
	Faults   jsondoc.Faults
	Warnings jsondoc.Faults
}

// Fault reports a place in the document, unless something is already known to
// be wrong there.
func (r *Report) Fault(path, problem, fix string) {
	if f := r.place(path, problem, fix); !r.Faults.Covers(f.Path) {
		r.Faults = append(r.Faults, f)
	}
}

// Warn reports a place in the document that is suspicious but valid.
func (r *Report) Warn(path, problem, fix string) {
	r.Warnings = append(r.Warnings, r.place(path, problem, fix))
}

// place finds a path in what the operator wrote.
func (r *Report) place(path, problem, fix string) jsondoc.Fault {
	if name, ok := r.Names[path]; ok {
		return jsondoc.Fault{Path: name, Problem: problem, Fix: fix}
	}
	if r.Tree == nil {
		return jsondoc.Fault{Path: path, Problem: problem, Fix: fix}
	}
	return r.Tree.Fault(path, problem, fix)
}

// isSet reports whether the operator isSet anything at path.
func (r *Report) isSet(path string) bool { return r.Tree != nil && r.Tree.Has(path) }

// Read understands the text of a document, with as much of it as can be; nil
// when that is nothing. file names the text in faults, "" if it is none.
func (r *Report) Read(file string, text []byte) *Document {
	tree, faults := jsondoc.Parse(file, text)
	if tree == nil {
		r.Faults = append(r.Faults, faults...)
		return nil
	}
	r.Tree = tree
	d := new(Document)
	r.Faults = append(r.Faults, jsondoc.Decode(tree, d)...)
	if tree.Root.Kind != jsondoc.Object {
		return nil
	}
	return d
}

// Parse understands a document and checks all that can be checked without an
// environment. The error is of type jsondoc.Faults.
func Parse(file string, text []byte) (*Document, error) {
	r := new(Report)
	d := r.Read(file, text)
	if d != nil {
		r.Check(d, "")
	}
	r.Faults.Sort()
	return d, r.Faults.Err()
}

// New is a document in which nothing is written yet.
func New() *Document {
	d := new(Document)
	jsondoc.SetDefaults(d)
	return d
}

// Print is the document as it could have been written, without defaults.
func (d *Document) Print() []byte { return jsondoc.Encode(*d) }

// Schema is the JSON Schema (2020-12) of the document.
func Schema() []byte { return jsondoc.Schema("Spillway pool document", new(Document)) }

// Settings is the names of all app settings that the document refers to.
func (d *Document) Settings() []string {
	var names []string
	for _, b := range d.Backends {
		names = append(names, b.Auth.Setting)
	}
	for i := range d.Consumers {
		for _, setting := range d.Consumers[i].Keys("") {
			names = append(names, setting)
		}
	}
	return names
}

// Keys goes through the names of the app settings that hold the consumer's
// keys, with the path of each; at is the consumer's own.
func (who *Consumer) Keys(at string) func(yield func(path, setting string) bool) {
	return func(yield func(path, setting string) bool) {
		if who.KeySetting != "" && !yield(jsondoc.Join(at, "keySetting"), who.KeySetting) {
			return
		}
		for i, setting := range who.KeySettings {
			if !yield(jsondoc.Index(jsondoc.Join(at, "keySettings"), i), setting) {
				return
			}
		}
	}
}

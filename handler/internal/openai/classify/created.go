package classify

import (
	"bytes"
	"slices"

	"spillway/handler/internal/openai/jsonscan"
	"spillway/handler/internal/openai/operations"
)

// maxCreated bounds the memory of one answer.
const maxCreated = 1 << 16

// Created returns the objects that an answer of this operation, or one event of
// it, says the service made: those whose ids the caller may use from now on. Of
// an answer that is cut off it returns those before the cut. It reads the places that
// the service fills, and no others: what callers, models and tools wrote is repeated
// anywhere else, and makes nothing.
func Created(o *operations.Operation, subpath string, answer []byte) []operations.Object {
	start := jsonscan.SkipSpace(answer, 0)
	if start == len(answer) || answer[start] != '{' {
		return nil
	}
	f := finder{answer: answer, root: o.MadeBy(subpath), listed: listedKind(o, subpath)}
	f.members(start, answerOf(o))
	if o.Name == "compact" {
		return withLastItem(f.objects)
	}
	return f.objects
}

// withLastItem leaves out all items but the last: a compaction makes one, and may repeat
// an earlier one.
func withLastItem(objects []operations.Object) []operations.Object {
	var last operations.Object
	for _, o := range objects {
		if o.Kind == operations.KindItem {
			last = o
		}
	}
	return slices.DeleteFunc(objects, func(o operations.Object) bool { return o.Kind == operations.KindItem && o != last })
}

// NamesCode reports whether an answer of Anthropic's, or an event of one, may name a
// container, or what code made in one.
func NamesCode(answer []byte) bool {
	return bytes.Contains(answer, []byte(`"container"`)) || bytes.Contains(answer, []byte("code_execution_tool_result"))
}

// listedKind is the kind of the objects in a list below an object of the caller's.
func listedKind(o *operations.Operation, subpath string) operations.Kind {
	switch o.Collection(subpath) {
	case "", "content":
		return ""
	case "items", "input_items":
		return operations.KindItem
	}
	return operations.KindListed
}

// answerOf is the shape of an operation's answers and events.
func answerOf(o *operations.Operation) shape {
	switch s, ok := answers[o.Kind]; {
	case o.Dialect == operations.Messages:
		return messageAnswer
	case o.Name == "compact":
		return compactAnswer
	case o.Kind == operations.KindResponse && o.State == operations.ByID:
		return storedAnswer
	case ok:
		return s
	}
	return plainAnswer
}

// finder finds the objects of one answer.
type finder struct {
	answer       []byte
	root, listed operations.Kind // of the answer itself, and of what it lists
	objects      []operations.Object
}

// conditional is objects that count if the object that they are in is of one of these
// types, which may be said behind them.
type conditional struct {
	from, to int
	types    []string
}

// members reads the object that begins at byte i.
func (f *finder) members(i int, s shape) jsonscan.Iterator {
	var kind []byte
	var pending []conditional
	in := jsonscan.Iterate(f.answer, i)
	for in.Next() {
		p, ok := s[string(in.Key)]
		from, value := len(f.objects), in.Offset
		switch {
		case !ok:
		case p.tells && f.answer[value] == '"':
			if end := in.Skip(); in.Reason == jsonscan.OK {
				kind = f.answer[value+1 : end-1]
			}
		default:
			f.value(&in, p)
		}
		if p.of != nil && len(f.objects) > from {
			pending = append(pending, conditional{from, len(f.objects), p.of})
		}
	}
	for _, c := range slices.Backward(pending) {
		if !slices.Contains(c.types, string(kind)) {
			f.objects = slices.Delete(f.objects, c.from, c.to)
		}
	}
	return in
}

// value reads the value that the iterator is at: an id, an object, or a list of them.
func (f *finder) value(it *jsonscan.Iterator, p place) {
	switch c := f.answer[it.Offset]; {
	case c == '"' && p.kind != "":
		from := it.Offset + 1
		if end := it.Skip() - 1; it.Reason == jsonscan.OK {
			f.add(p.kind, f.answer[from:end])
		}
	case c == '{' && p.in != nil:
		passed(it, f.members(it.Offset, p.in))
	case c == '[':
		list := jsonscan.Iterate(f.answer, it.Offset)
		for list.Next() {
			if f.answer[list.Offset] != '[' {
				f.value(&list, p)
			}
		}
		passed(it, list)
	}
}

// passed continues behind a value that an inner iterator went over.
func passed(it *jsonscan.Iterator, inner jsonscan.Iterator) {
	if inner.Reason != jsonscan.OK {
		it.Fail(inner.Offset, inner.Reason)
		return
	}
	it.SkipTo(inner.Offset)
}

// add adds the object of an id.
func (f *finder) add(kind operations.Kind, id []byte) {
	if kind == ofAnswer {
		kind = f.root
	}
	if kind == ofList {
		kind = f.listed
	}
	if kind != "" && len(id) > 0 && len(f.objects) < maxCreated {
		f.objects = append(f.objects, operations.Object{Kind: kind, ID: truncated(id)})
	}
}

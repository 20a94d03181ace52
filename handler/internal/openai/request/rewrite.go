package request

import (
	"cmp"
	"slices"
	"strconv"
	"unicode/utf8"

	"spillway/handler/internal/openai/jsonscan"
)

// Changes are the edits that a request may need for a backend. The zero Changes
// changes nothing.
type Changes struct {
	Model        string // the backend's name for the model; "" keeps the caller's
	IncludeUsage bool   // ask for the usage chunk at a stream's end, if the caller did not
	CacheKey     string // in place of the caller's prompt_cache_key, if it has one; "" keeps it
	Bound        Bound
}

// Bound is a bound of the answer in the place of a member that is absent or null, and
// of each that is given but bounds nothing. The zero Bound changes nothing.
type Bound struct {
	Member OutputMember
	Tokens int64
}

// NeedsRewrite reports whether c changes the body: where it does not, the caller's
// own bytes can be sent.
func (p *ParsedRequest) NeedsRewrite(c Changes) bool {
	return p.changesModel(c) || p.addsUsage(c) || p.changesCacheKey(c) || p.addsBound(c)
}

func (p *ParsedRequest) addsBound(c Changes) bool {
	return p.boundsBy(c, MaxTokens) || p.boundsBy(c, MaxCompletionTokens) || p.boundsBy(c, MaxOutputTokens)
}

// boundsBy reports whether the answer is bounded by changing this member.
func (p *ParsedRequest) boundsBy(c Changes, m OutputMember) bool {
	b := &p.OutputBounds[m]
	return p.InsertAt > 0 && c.Bound.Tokens > 0 && (b.Open || m == c.Bound.Member && b.Tokens == 0)
}

func (p *ParsedRequest) changesCacheKey(c Changes) bool {
	return c.CacheKey != "" && p.PromptCacheKeySpan != (Span{})
}

func (p *ParsedRequest) changesModel(c Changes) bool {
	return p.InsertAt > 0 && c.Model != "" && (c.Model != p.Model || p.ModelSpan == (Span{}))
}

func (p *ParsedRequest) addsUsage(c Changes) bool {
	return p.InsertAt > 0 && c.IncludeUsage && !p.IncludeUsage
}

// Rewrite appends body to dst with the changes made, and returns the longer dst.
// It allocates only when dst lacks capacity for RewriteLen more bytes. p must be
// what Parse returned for this body; the zero ParsedRequest, of a body that is
// not JSON, changes nothing. Everything but the changed values is byte for byte
// what it was; a member that is missing is inserted behind the opening brace.
func (p *ParsedRequest) Rewrite(dst, body []byte, c Changes) []byte {
	done := 0
	edits, n := p.edits(body, c)
	for i := range edits[:n] {
		dst = edits[i].appendTo(append(dst, body[done:edits[i].at.From]...))
		done = edits[i].at.To
	}
	return append(dst, body[done:]...)
}

// Parts is what Rewrite appends in parts, of which the long ones are parts of body.
func (p *ParsedRequest) Parts(body []byte, c Changes) [][]byte {
	done := 0
	edits, n := p.edits(body, c)
	parts := make([][]byte, 0, 2*n+1)
	for i := range edits[:n] {
		parts = append(parts, body[done:edits[i].at.From], edits[i].appendTo(nil))
		done = edits[i].at.To
	}
	return append(parts, body[done:])
}

// RewriteLen is exactly how many bytes Rewrite appends.
func (p *ParsedRequest) RewriteLen(body []byte, c Changes) int {
	size := len(body)
	edits, n := p.edits(body, c)
	for _, e := range edits[:n] {
		size += len(e.head) + len(e.tail) - (e.at.To - e.at.From)
		if e.name != "" {
			var quoted [128]byte
			size += len(appendQuoted(quoted[:0], e.name))
		}
	}
	return size
}

// edit replaces the bytes of at by head, name as a JSON string, and tail.
type edit struct {
	at         Span
	head, name string
	tail       string
}

func (e *edit) appendTo(dst []byte) []byte {
	dst = append(dst, e.head...)
	if e.name != "" {
		dst = appendQuoted(dst, e.name)
	}
	return append(dst, e.tail...)
}

// edits are the edits for c, in the order of the body.
func (p *ParsedRequest) edits(body []byte, c Changes) (list [3 + outputMembers]edit, n int) {
	if p.changesModel(c) {
		list[n] = p.modelEdit(c.Model)
		n++
	}
	if p.addsUsage(c) {
		list[n] = p.usageEdit(body)
		n++
	}
	if p.changesCacheKey(c) {
		list[n] = edit{at: p.PromptCacheKeySpan, name: c.CacheKey}
		n++
	}
	for m := range NoOutputMember {
		if p.boundsBy(c, m) {
			list[n] = p.boundEdit(Bound{m, c.Bound.Tokens})
			n++
		}
	}
	slices.SortStableFunc(list[:n], func(a, b edit) int { return cmp.Compare(a.at.From, b.at.From) })
	if n > 0 && p.Empty {
		list[n-1].tail = list[n-1].tail[:len(list[n-1].tail)-1] // no comma before the closing brace
	}
	return list, n
}

// modelEdit names the model, and inserts it where only the URL named it.
func (p *ParsedRequest) modelEdit(name string) edit {
	if p.ModelSpan != (Span{}) {
		return edit{at: p.ModelSpan, name: name}
	}
	return edit{at: Span{p.InsertAt, p.InsertAt}, head: `"model":`, name: name, tail: `,`}
}

// usageEdit asks for usage, at the place that fits what the body has.
func (p *ParsedRequest) usageEdit(body []byte) edit {
	switch options := p.StreamOptionsSpan; {
	case p.IncludeUsageSpan != (Span{}):
		return edit{at: p.IncludeUsageSpan, tail: `true`}
	case options == (Span{}):
		return edit{at: Span{p.InsertAt, p.InsertAt}, tail: `"stream_options":{"include_usage":true},`}
	case body[options.From] != '{': // null
		return edit{at: options, tail: `{"include_usage":true}`}
	case body[jsonscan.SkipSpace(body, options.From+1)] == '}':
		return edit{at: Span{options.From + 1, options.From + 1}, tail: `"include_usage":true`}
	default:
		return edit{at: Span{options.From + 1, options.From + 1}, tail: `"include_usage":true,`}
	}
}

// boundEdit bounds the answer.
func (p *ParsedRequest) boundEdit(b Bound) edit {
	tokens := strconv.FormatInt(b.Tokens, 10)
	if at := p.OutputBounds[b.Member].Span; at != (Span{}) {
		return edit{at: at, tail: tokens}
	}
	return edit{at: Span{p.InsertAt, p.InsertAt}, tail: `"` + b.Member.String() + `":` + tokens + `,`}
}

// appendQuoted appends s as a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

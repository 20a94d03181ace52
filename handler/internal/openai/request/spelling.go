package request

import (
	"bytes"
	"slices"
	"strings"

	"spillway/handler/internal/openai/jsonscan"
)

// A server may read a name in another case, or without its underscores. Where what a
// body names has an owner or a fence, a name that differs from one that is acted on by
// no more than that is refused: nobody knows what the backend would make of it.

// foldings finds names by their letters and digits alone, whatever the case.
type foldings map[[2]byte][]folding // by the first and the last byte

type folding struct{ folded, name string }

func newFoldings(names ...string) foldings {
	f := foldings{}
	for _, name := range names {
		text := fold([]byte(name))
		ends := [2]byte{text[0], text[len(text)-1]}
		f[ends] = append(f[ends], folding{text, name})
	}
	return f
}

// find returns the name that key is another spelling of, "" if it is of none.
func (f foldings) find(key []byte) string {
	if len(key) == 0 {
		return ""
	}
	first, last := key[0]|0x20, key[len(key)-1]|0x20
	if !isLetter(first) || !isLetter(last) { // it may begin or end with what is left out
		text := fold(key)
		if text == "" {
			return ""
		}
		key, first, last = []byte(text), text[0], text[len(text)-1]
	}
	for _, c := range f[[2]byte{first, last}] {
		if foldsTo(key, c.folded) {
			return c.name
		}
	}
	return ""
}

func isLetter(lower byte) bool { return 'a' <= lower && lower <= 'z' }

// foldsTo reports whether key folds to this text.
func foldsTo(key []byte, folded string) bool {
	n := 0
	for _, c := range key {
		if c >= 0x80 {
			return fold(key) == folded
		}
		if isSeparator(c) {
			continue
		}
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if n == len(folded) || folded[n] != c {
			return false
		}
		n++
	}
	return n == len(folded)
}

func isSeparator(c byte) bool {
	return c < '0' && c != '$' || c > '9' && c < 'A' || c == '_' || c == '[' || c == ']' || c == '\\'
}

// otherLetters are letters that servers hold for a plain one when they ignore case.
var otherLetters = strings.NewReplacer("ſ", "s", "K", "k", "ı", "i", "İ", "i")

// fold returns the letters and digits of a name in lower case.
func fold(name []byte) string {
	text := strings.ToLower(otherLetters.Replace(string(name)))
	return strings.Map(func(r rune) rune {
		if r < 0x80 && isSeparator(byte(r)) || r == 0x307 {
			return -1
		}
		return r
	}, text)
}

// SameName reports whether two names differ in their case and separators at most.
func SameName(a, b string) bool { return fold([]byte(a)) == fold([]byte(b)) }

// modelEndings are how the names of members end that name a model or deployment, folded.
var modelEndings = []string{
	"model", "models", "modelid", "modelids", "modelname", "modelnames",
	"deployment", "deployments", "deploymentid", "deploymentids", "deploymentname", "deploymentnames", "fallbacks",
}

// namesModel reports whether a member names models by the end of its name, or as old
// services did.
func namesModel(key []byte) bool {
	if spelt.find(key) == "engine" {
		return true
	}
	for _, ending := range modelEndings {
		if endsFolded(key, ending) {
			return true
		}
	}
	return false
}

// endsFolded reports whether what key folds to ends so.
func endsFolded(key []byte, ending string) bool {
	n := len(ending)
	for i := len(key) - 1; i >= 0 && n > 0; i-- {
		c := key[i]
		if c >= 0x80 {
			return strings.HasSuffix(fold(key), ending)
		}
		if isSeparator(c) {
			continue
		}
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if n--; ending[n] != c {
			return false
		}
	}
	return n == 0
}

// unknownMember judges a member at any depth that is not watched.
func unknownMember(key []byte) (jsonscan.Name, jsonscan.Reason) {
	if bytes.IndexByte(key, '\\') >= 0 {
		key = []byte(jsonscan.Unquote(key))
	}
	if name := spelt.find(key); name != "" && name != string(key) {
		return 0, jsonscan.Misspelt
	}
	switch {
	case namesModel(key):
		return anyModel, jsonscan.OK
	case endsFolded(key, "id"), endsFolded(key, "ids"):
		usual := bytes.HasSuffix(key, []byte("call_id")) // of which a conversation has hundreds
		if !usual && slices.ContainsFunc(reachEndings, func(ending string) bool { return endsFolded(key, ending) }) {
			return anyReach, jsonscan.OK
		}
		return anyID, jsonscan.OK
	}
	return standInByName[speltStandIns.find(key)], jsonscan.OK
}

// misspelt is the error for a member whose name begins at byte at.
func (s *parser) misspelt(at int, key []byte) error {
	written := jsonscan.Unquote(key)
	for _, names := range []foldings{spelt, speltAtTop, speltInLine} {
		if name := names.find([]byte(written)); name != "" && name != written {
			return misspelt(at, written, name)
		}
	}
	return malformedAt(at, jsonscan.Misspelt)
}

// atTop reports whether the name of a member of the body itself is acceptable.
func (p *Parser) atTop(key []byte) bool {
	if !p.Strict {
		return true
	}
	names := speltAtTop
	if p.Line {
		names = speltInLine
	}
	if bytes.IndexByte(key, '\\') >= 0 {
		key = []byte(jsonscan.Unquote(key))
	}
	name := names.find(key)
	return name == "" || name == string(key)
}

// repeatedInLine reports whether a member of a line of requests occurred before, of those
// that say what its request is.
func (s *parser) repeatedInLine(key []byte) bool {
	name := ""
	if s.owner.Line {
		name = speltInLine.find([]byte(jsonscan.Unquote(key)))
	}
	if name == "" {
		return false
	}
	repeated := slices.Contains(s.inLine, name)
	s.inLine = append(s.inLine, name)
	return repeated
}

// topMembers are the members of a body itself that are acted on there only.
var topMembers = []string{
	"stream", "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of", "prompt_cache_key", "store", "background",
	"service_tier", "user", "safety_identifier", "messages", "instructions", "system", "tools", "functions", "response_format", "text", "prediction",
	"suffix", "documents", "query", "content_url", "purpose", "endpoint", "web_search_options",
}

var (
	speltAtTop  = newFoldings(topMembers...)
	speltInLine = newFoldings("custom_id", "method", "url", "body")
	spelt       = newFoldings(slices.Concat(keys(idMembers), keys(holderMembers), itemMembers, modelMembers, reachMembers,
		[]string{"id", "type", "data_source", "data_source_config", "data_sources", "parameters", "authentication"},
		[]string{"model_id", "model_name", "base_model", "deployment_id", "deployment_name"})...)
)

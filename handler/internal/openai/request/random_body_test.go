package request

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"spillway/handler/internal/openai/jsonscan"
)

var randomBodies = flag.Int("bodies", 5_000, "how many random bodies are compared with a strict parser")

// Bodies with a forbidden id anywhere: whatever a strict parser reads as an id is
// checked, or the body is refused.
func TestForbiddenIDsAreFoundAnywhere(t *testing.T) {
	random := rand.New(rand.NewPCG(13, 9))
	named := 0
	for range *randomBodies {
		body := randomBody(random)
		if err := checkAgainstStrictParser([]byte(body)); err != nil {
			t.Fatal(err)
		}
		if err := checkSpellings([]byte(body)); err != nil {
			t.Fatal(err)
		}
		if parsed, err := Parse([]byte(body)); err == nil && len(parsed.References) > 0 {
			named++
		}
	}
	if named < *randomBodies/5 {
		t.Errorf("%d of %d bodies name an id and are accepted: the generator is too wild", named, *randomBodies)
	}
}

// randomBody is an object of random members, watched ones among them, nested,
// escaped and sometimes repeated.
func randomBody(r *rand.Rand) string {
	var b strings.Builder
	writeObject(&b, r, 0)
	return b.String()
}

func writeObject(b *strings.Builder, r *rand.Rand, depth int) {
	b.WriteByte('{')
	var keys []string
	for i := range r.IntN(5) {
		key := randomKey(r)
		if i > 0 {
			b.WriteByte(',')
			if r.IntN(60) == 0 {
				key = keys[r.IntN(len(keys))]
			}
		}
		keys = append(keys, key)
		writeText(b, r, key)
		b.WriteString([]string{":", " : "}[r.IntN(2)])
		writeValue(b, r, depth+1)
	}
	b.WriteByte('}')
}

func randomKey(r *rand.Rand) string {
	switch r.IntN(8) {
	case 0, 1:
		return fmt.Sprint("k", r.IntN(1000))
	case 2:
		return []string{"thing_id", "thingIds", "id", "type"}[r.IntN(4)]
	}
	key := vocabulary.Text(jsonscan.Name(1 + r.IntN(vocabulary.Len())))
	if r.IntN(80) == 0 {
		return otherSpelling(r, key)
	}
	return key
}

// otherSpelling writes a name with other case and separators.
func otherSpelling(r *rand.Rand, key string) string {
	var b strings.Builder
	for i, c := range strings.TrimPrefix(key, "\x00") {
		switch {
		case c == '_' && r.IntN(2) == 0:
		case r.IntN(6) == 0 && i > 0:
			b.WriteString([]string{"_", "-", " "}[r.IntN(3)])
			fallthrough
		default:
			if r.IntN(3) == 0 {
				c = unicode.ToUpper(c)
			}
			b.WriteRune(c)
		}
	}
	return b.String()
}

func writeValue(b *strings.Builder, r *rand.Rand, depth int) {
	switch kind := r.IntN(10); {
	case kind < 3 && depth < 12:
		writeObject(b, r, depth)
	case kind < 5 && depth < 12:
		b.WriteByte('[')
		for i := range r.IntN(4) {
			if i > 0 {
				b.WriteString(", ")
			}
			writeValue(b, r, depth+1)
		}
		b.WriteByte(']')
	case kind == 5:
		b.WriteString([]string{"null", "true", "12.5e3", `""`}[r.IntN(4)])
	default:
		writeText(b, r, randomID(r))
	}
}

// randomID is an id of any form, or a text that only begins like one.
func randomID(r *rand.Rand) string {
	n := r.IntN(1_000_000)
	prefix := []string{"file-", "resp_", "conv_", "video_", "pmpt_", "msg_", "call_", "vs_"}[r.IntN(8)]
	switch r.IntN(6) {
	case 0:
		return "item_reference"
	case 1:
		return fmt.Sprint(prefix, n)
	case 2:
		return fmt.Sprintf("%s%024x", prefix, n)
	case 3:
		return fmt.Sprint(prefix, "a b ", n)
	}
	return fmt.Sprint("id-", n)
}

// writeText writes a string, with some of its letters escaped.
func writeText(b *strings.Builder, r *rand.Rand, text string) {
	b.WriteByte('"')
	escape := r.IntN(8) == 0
	for i := range len(text) {
		if escape && r.IntN(3) == 0 || text[i] < ' ' {
			fmt.Fprintf(b, `\u%04x`, text[i])
			continue
		}
		b.WriteByte(text[i])
	}
	b.WriteByte('"')
}

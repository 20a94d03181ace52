package tablestore

import (
	"strings"
	"testing"
)

func FuzzRowKey(f *testing.F) {
	f.Add("team-a", "team a")
	f.Add("~2f", "/")
	f.Add("ü", "a#b?c\\d")
	f.Fuzz(func(t *testing.T, a, b string) {
		if (EncodeKey(a) == EncodeKey(b)) != (a == b) {
			t.Errorf("%q and %q have the row keys %q and %q", a, b, EncodeKey(a), EncodeKey(b))
		}
		if strings.ContainsAny(EncodeKey(a), "/\\#?\x00\t %'") {
			t.Errorf("%q has the row key %q", a, EncodeKey(a))
		}
	})
}

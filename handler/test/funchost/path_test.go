package funchost

import (
	"errors"
	"testing"
)

func TestPathIsDecodedAndEncodedAgain(t *testing.T) { // D 16
	for raw, want := range map[string]string{
		"/":                        "/",
		"/a/b/":                    "/a/b/",
		"/a//b":                    "/a//b",
		"/openai/deployments/x":    "/openai/deployments/x",
		"/%7Euser":                 "/~user",
		"/a%20b":                   "/a%20b",
		"/a%2Fb":                   "/a%252Fb",
		"/a%2fb%2f%2F":             "/a%252fb%252f%252F",
		"/a%252Fb":                 "/a%252Fb",
		"/%41%62":                  "/Ab",
		"/a/./b/../c":              "/a/c",
		"/a/%2e%2e/b":              "/b",
		"/../..":                   "/",
		"/a/b/..":                  "/a/",
		"/a/.":                     "/a/",
		"/a/.b":                    "/a/.b",
		"/%E4%BD%A0%E5%A5%BD":      "/%E4%BD%A0%E5%A5%BD",
		"/你":                       "/%E4%BD%A0",
		"/%FF%41":                  "/%25FFA",
		"/%":                       "/%25",
		"/%zz":                     "/%25zz",
		"/!$&'()*+,;=:@":           "/!$&'()*+,;=:@",
		"/\"<>[\\]^`{|}":           "/%22%3C%3E%5B%5C%5D%5E%60%7B%7C%7D",
		"/%3F%23":                  "/%3F%23",
		"/gpt-4o%3Aft/x%2Cy":       "/gpt-4o:ft/x,y",
		"/%e4%bd%a0%2F%e4%bd%a0/x": "/%E4%BD%A0%252F%E4%BD%A0/x",
	} {
		decoded, err := decodePath(raw)
		if got := encodePath(decoded); got != want || err != nil {
			t.Errorf("%s arrives as %s (%v), want %s", raw, got, err, want)
		}
	}
	if _, err := decodePath("/a%00b"); !errors.Is(err, errNullInPath) {
		t.Errorf("a null character: %v, want %v", err, errNullInPath)
	}
}

func TestTargetIsCutAtTheFirstQuestionMark(t *testing.T) {
	for target, want := range map[string][2]string{
		"/a?b=c?d":             {"/a", "?b=c?d"},
		"/a?":                  {"/a", "?"},
		"/a":                   {"/a", ""},
		"http://h:1/a?b=http:": {"/a", "?b=http:"},
		"/a?u=http://x/y":      {"/a", "?u=http://x/y"},
	} {
		path, query := splitTarget(target)
		if path != want[0] || query != want[1] {
			t.Errorf("%s is cut into %q and %q, want %q", target, path, query, want)
		}
	}
}

// What the handler sees must be a fixed point: a second host in the way would
// not change it, but for the percent signs that each host escapes anew.
func FuzzPathThroughTheHost(f *testing.F) {
	for _, seed := range []string{"/", "/a%2Fb", "/%E4%BD", "/..%2f", "/%00", "//.", "/a/.."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		decoded, err := decodePath("/" + raw)
		if err != nil {
			return
		}
		encoded := encodePath(decoded)
		for i := range len(encoded) {
			if c := encoded[i]; c <= ' ' || c >= 0x7f || c == '?' || c == '#' {
				t.Fatalf("%q arrives as %q: byte %q cannot stand in a request line", raw, encoded, c)
			}
		}
		if again, err := decodePath(encoded); err != nil || encodePath(again) != encoded && again == decoded {
			t.Fatalf("%q: %q is decoded as %q (%v)", raw, encoded, again, err)
		}
	})
}

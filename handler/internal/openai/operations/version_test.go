package operations

import "testing"

func TestAPIVersion(t *testing.T) {
	for query, want := range map[string]string{
		"api-version=2024-10-21": "2024-10-21", "a=b&API-Version=2024-06-01&c": "2024-06-01", "api%2Dversion=v1": "v1", "api-version=2024%2D10-21": "2024-10-21",
		"": "none", "xapi-version=1": "none", "api-version": "", "api-version=": "", "%zz=1&api-version=1": "1",
	} {
		got, ok := APIVersion(query)
		if !ok {
			got = "none"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}
}

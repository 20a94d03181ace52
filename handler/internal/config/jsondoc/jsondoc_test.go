package jsondoc

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// nestedList is a struct with a field of every shape.
type nestedList struct {
	_       struct{}       `noun:"a herd" doc:"Animals."`
	Shelter nestedMap      `json:"shelter"`
	Dog     *nestedMap     `json:"dog"`
	Goats   []string       `json:"goats" pattern:"^[a-z]+$" say:"a name in small letters" most:"3"`
	Sheep   []nestedItem   `json:"sheep" keys:"^[a-z]+$" keysay:"a name in small letters"`
	Ages    map[string]int `json:"ages" min:"1" max:"20" keys:"^[a-z]+$" keysay:"a name in small letters"`
	Calls   Pairs          `json:"calls" keys:"^[a-z]+$" keysay:"a name in small letters" pattern:"^[A-Z]+$" say:"a call in capitals"`
	Milk    float64        `json:"milk" min:"0"`
	Heads   int64          `json:"heads" default:"7"`
	Tame    bool           `json:"tame" default:"true"`
	Walk    Duration       `json:"walk" default:"\"1h\""`
	Colour  string         `json:"colour" enum:"white|black" default:"\"white\"" also:"color"`
}

type nestedMap struct {
	_    struct{} `noun:"a shelter" doc:"Where they sleep."`
	Name string   `json:"name" default:"\"barn\""`
}

type nestedItem struct {
	_    struct{} `noun:"a sheep" doc:"One of them."`
	Name string   `json:"-" key:"yes"`
	Wool int      `json:"wool" required:"yes" example:"3"`
}

func wrong(t *testing.T, text string) Faults {
	t.Helper()
	tree, faults := Parse("", []byte(text))
	if faults != nil {
		t.Fatal(faults)
	}
	return Decode(tree, new(nestedList))
}

func decoded(t *testing.T, text string) nestedList {
	t.Helper()
	tree, faults := Parse("", []byte(text))
	if faults != nil {
		t.Fatal(faults)
	}
	var h nestedList
	if faults := Decode(tree, &h); faults != nil {
		t.Fatal(faults)
	}
	return h
}

func TestAnEmptyObjectIsAllDefaults(t *testing.T) {
	want := nestedList{Shelter: nestedMap{Name: "barn"}, Heads: 7, Tame: true, Walk: Duration(3600e9), Colour: "white"}
	if diff := cmp.Diff(want, decoded(t, `{}`)); diff != "" {
		t.Error(diff)
	}
	var preset nestedList
	SetDefaults(&preset)
	if diff := cmp.Diff(want, preset); diff != "" {
		t.Error(diff)
	}
}

func TestNullIsTheSameAsNotWritten(t *testing.T) {
	text := `{"shelter": null, "dog": null, "goats": null, "sheep": null, "ages": null, "calls": null, "milk": null, "heads": null, "tame": null, "walk": null, "colour": null}`
	if diff := cmp.Diff(decoded(t, `{}`), decoded(t, text)); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeShapes(t *testing.T) {
	got := decoded(t, `{"shelter": {"name": "shed"}, "dog": {}, "goats": ["billy"], "sheep": {"zoe": {"wool": 1}, "amy": {"wool": 2}},
		"ages": {"billy": 3}, "calls": {"zoe": "BAA", "amy": "MEE"}, "milk": 1.5, "heads": 1e3, "tame": false, "walk": "90s", "colour": "black"}`)
	want := nestedList{
		Shelter: nestedMap{Name: "shed"}, Dog: &nestedMap{Name: "barn"}, Goats: []string{"billy"},
		Sheep: []nestedItem{{Name: "zoe", Wool: 1}, {Name: "amy", Wool: 2}}, Ages: map[string]int{"billy": 3},
		Calls: Pairs{{"zoe", "BAA"}, {"amy", "MEE"}}, Milk: 1.5, Heads: 1000, Walk: Duration(90e9), Colour: "black",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Pairs{{"amy", "amy"}}, decoded(t, `{"calls": ["amy"]}`).Calls); diff != "" {
		t.Error(diff)
	}
}

func TestEncodeDecodeRoundTrip(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"dog": {}, "calls": [], "goats": [], "ages": {}, "sheep": {}}`, `{"calls": ["b", "a"], "tame": false, "heads": 0, "walk": "1m30.5s"}`,
		`{"sheep": {"zoe": {"wool": 0}, "amy": {"wool": 2}}, "calls": {"b": "X", "a": "Y"}, "ages": {"z": 1, "a": 2}, "milk": 0.1}`,
	} {
		first := decoded(t, text)
		if diff := cmp.Diff(first, decoded(t, string(Encode(first)))); diff != "" {
			t.Errorf("%s: printed as %s:\n%s", text, Encode(first), diff)
		}
	}
	if got := string(Encode(decoded(t, `{"heads": 7, "walk": "3600s"}`))); got != "{}\n" {
		t.Errorf("got %s, want nothing but defaults left out", got)
	}
}

func TestFaultsAreInTextOrder(t *testing.T) {
	text := `{
  "sheeps": {},
  "heads": "7",
  "sheep": {"Zoe": {"wool": 1}, "amy": {}, "amy": {"wool": 1}},
  "goats": ["billy", "Billy", 3, "x"],
  "ages": {"billy": 0, "meg": 30},
  "calls": {"zoe": "baa"},
  "milk": -0.5, "tame": 1, "walk": "-5s", "colour": "grey", "color": "white",
  "shelter": []
}`
	faults := wrong(t, text)
	want := []string{
		`sheeps (line 2, column 3): is no field of a herd. Did you mean "sheep"?`,
		`heads (line 3, column 12): must be a whole number, not a string. Remove the quotes: 7.`,
		`sheep.Zoe (line 4, column 13): is not allowed as a name here. Write a name in small letters.`,
		`sheep.amy.wool (line 4, column 40): is missing. Add "wool": 3.`,
		`sheep.amy (line 4, column 44): is given twice, first at line 4, column 40. Keep one of the two.`,
		`goats (line 5, column 12): has 4 entries. Keep at most 3.`,
		`goats[1] (line 5, column 22): "Billy" is not allowed here. Write a name in small letters.`,
		`goats[2] (line 5, column 31): must be a string, not a number. Write it in double quotes.`,
		`ages.billy (line 6, column 21): 0 is out of range. Write a whole number from 1 to 20.`,
		`ages.meg (line 6, column 31): 30 is out of range. Write a whole number from 1 to 20.`,
		`calls.zoe (line 7, column 20): "baa" is not allowed here. Write a call in capitals.`,
		`milk (line 8, column 11): -0.5 is out of range. Write a number of at least 0.`,
		`tame (line 8, column 25): must be true or false, not a number. Write true or false, without quotes.`,
		`walk (line 8, column 36): "-5s" is no duration. Write a duration as Go does, for example "10s", "800ms" or "1m30s".`,
		`colour (line 8, column 53): "grey" is not allowed here. Write one of: white, black.`,
		`color (line 8, column 61): is no field of a herd. Did you mean "colour"?`,
		`shelter (line 9, column 14): must be an object, not a list. Write {...}.`,
	}
	if diff := cmp.Diff(want, strings.Split(faults.Error(), "\n")); diff != "" {
		t.Error(diff)
	}
}

func TestColumnsCountCharactersNotBytes(t *testing.T) {
	faults := wrong(t, `{"colour": "übergroß", "tame": "ja"}`)
	if got := faults[1].Column; got != 32 {
		t.Errorf("got column %d, want 32", got)
	}
}

func TestAByteOrderMarkIsIgnored(t *testing.T) {
	if got := decoded(t, "\xef\xbb\xbf{\"heads\": 3}").Heads; got != 3 {
		t.Errorf("got %d", got)
	}
}

func TestPathsRoundTrip(t *testing.T) {
	tree, _ := Parse("", []byte(`{"a": {"b.c": [1, {"d\"]e": 2}]}}`))
	path := Join(Index(Join("a", "b.c"), 1), `d"]e`)
	if !tree.Has(path) {
		t.Fatalf("%s is not found", path)
	}
	if f := tree.Fault(path, "x", "y"); f.Column != 29 {
		t.Errorf("got column %d, want 29", f.Column)
	}
	// What is not there is found at what holds it.
	if f := tree.Fault(path+".gone", "x", "y"); f.Column != 29 {
		t.Errorf("got column %d, want 29", f.Column)
	}
	if f := tree.Fault(`a["b.c"][7]`, "x", "y"); f.Column != 15 {
		t.Errorf("got column %d, want 15", f.Column)
	}
}

func TestFaultsCoverDescendants(t *testing.T) {
	faults := Faults{{Path: "a.b[1]"}}
	for path, want := range map[string]bool{"a.b[1]": true, "a.b[1].c": true, "a.b[1][2]": true, "a.b[10]": false, "a.b": false, "a.b[1]c": false} {
		if got := faults.Covers(path); got != want {
			t.Errorf("covers %s: %v, want %v", path, got, want)
		}
	}
	for path, want := range map[string]bool{"a": true, "a.b": true, "a.b[1]": true, "a.b[1].c": false, "ab": false} {
		if got := faults.Under(path); got != want {
			t.Errorf("under %s: %v, want %v", path, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"endpoint", "priority", "priorityIn", "keySetting", "eu"}
	for word, want := range map[string]string{
		"endpont": "endpoint", "Priority": "priority", "prioirty": "priority", "key_setting": "keySetting", "PRIORITY-IN": "priorityIn",
		"uk": "", "colour": "", "": "", "EU": "eu", strings.Repeat("x", 1000): "",
	} {
		if got := Nearest(word, names); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

func TestDurationString(t *testing.T) {
	for nanoseconds, want := range map[int64]string{10e9: "10s", 90e9: "1m30s", 300e9: "5m", 3600e9: "1h", 5400e9: "1h30m", 8e8: "800ms", 0: "0s", 36000e9: "10h", 600e9: "10m"} {
		if got := Duration(nanoseconds).String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSchemaHasEveryField(t *testing.T) {
	var schema struct {
		Properties map[string]any
		Defs       map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal(Schema("A herd", new(nestedList)), &schema); err != nil {
		t.Fatal(err)
	}
	if len(schema.Properties) != 11 || len(schema.Defs) != 2 || schema.Defs["nestedItem"].Properties["wool"] == nil {
		t.Errorf("got %+v", schema)
	}
}

package replay

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/config"
)

const pool = `{
  "backends": [
    {"name": "ptu", "endpoint": "https://a.openai.azure.com", "priority": 1, "capacity": "provisioned", "deployments": ["gpt-4o"]},
    {"name": "payg", "endpoint": "https://b.openai.azure.com", "priority": 2, "deployments": ["gpt-4o"]}
  ],
  "models": {"gpt-4o": {"price": {"input": 2.5, "output": 10}}}
}`

func parsed(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := new(config.Config).WithDocument("pool.json", text)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func capacities(t *testing.T, texts ...string) Capacities {
	t.Helper()
	all := Capacities{}
	for _, text := range texts {
		if err := all.Parse(text); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// steady is n requests of 300 and 100 tokens, one every so often.
func steady(n int, every time.Duration) *Log {
	l := new(Log)
	begin := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	model, consumer := l.Models.number("gpt-4o"), l.Consumers.number("team-a")
	for i := range n {
		l.Records = append(l.Records, Record{At: begin.Add(time.Duration(i) * every).UnixNano(), Prompt: 300, Completion: 100, Model: model, Consumer: consumer, Stream: true, First: 200_000, Total: 900_000})
	}
	l.Lines = n
	return l
}

func replayed(t *testing.T, l *Log, s Scenario) *Outcome {
	t.Helper()
	s.Name = "new"
	o, err := Run(t.Context(), l, &s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// A bucket that drains 100 tokens a second holds 1,000 at 100 %. Of requests of 400
// tokens, one a second, it takes those at 0, 1 and 2 s (level 400, 700, 1,000), the one
// at 3 s (900, then 1,300: above), and refuses the one at 4 s (1,200) for 2 s. The 429
// comes 10 ms later, so that the one at 6 s goes elsewhere as well. The one at 7 s is
// taken (900, then 1,300), the one at 8 s refused (1,200), the one at 9 s skips it.
func TestFiguresOfASmallLogByHand(t *testing.T) {
	o := replayed(t, steady(10, time.Second), Scenario{Config: parsed(t, pool), Capacity: capacities(t, "ptu=6000tpm"), PTUPrice: 2})
	ptu, payg := o.Backends[0], o.Backends[1]
	if ptu.Served != 5 || payg.Served != 5 || o.Throttle != 2 || ptu.Throttled != 2 || o.Spilled != 5 || o.Refused != 0 || o.Waited != 0 {
		t.Errorf("served %d and %d, 429s %d, spilled %d, refused %d, waited %d", ptu.Served, payg.Served, o.Throttle, o.Spilled, o.Refused, o.Waited)
	}
	if want := 5 * (300*2.5 + 100*10) / 1e6; math.Abs(o.TokenCost-want) > 1e-12 || payg.Cost != o.TokenCost {
		t.Errorf("cost %v, want %v", o.TokenCost, want)
	}
	if ptu.Utilization < 99.99 || ptu.Utilization > 100.01 { // it was never empty
		t.Errorf("used %v %%", ptu.Utilization)
	}
	if want := 100 * 5 * 400.0 / 6000; math.Abs(ptu.Busiest-want) > 1e-9 { // all of it drains within the minute
		t.Errorf("busiest minute %v %%, want %v", ptu.Busiest, want)
	}
	if o.FirstToken != (Percentiles{200, 210, 210}) || o.Added != (Percentiles{0, 10, 10}) {
		t.Errorf("first token %v, added %v", o.FirstToken, o.Added)
	}
	if r := NewReport(steady(10, time.Second), Learn(steady(10, time.Second)), []*Outcome{o}, nil); !strings.Contains(strings.Join(r.Notes, "\n"), "no limits there: team-a") {
		t.Errorf("%v", r.Notes)
	}
	if c := o.Consumers[0]; c.Consumer != "team-a" || c.Requests != 10 || c.Spilled != 5 || c.Prompt != 3000 || c.Completion != 1000 {
		t.Errorf("%+v", c)
	}
}

// Units are the table's tokens, and a token of an answer has its weight there: 300 + 3 × 100.
func TestUnitsAreTokensOfTheirModel(t *testing.T) {
	o := replayed(t, steady(61, time.Second), Scenario{Config: parsed(t, pool), Capacity: capacities(t, "ptu=15ptu"), PTUPrice: 2})
	ptu := o.Backends[0]
	if want := 100 * 60 * 600.0 / (15 * 2500); ptu.Served != 61 || math.Abs(ptu.Utilization-want) > 2 {
		t.Errorf("served %d, used %v %%, want %v", ptu.Served, ptu.Utilization, want)
	}
	if want := 15.0 * 2 / 60; math.Abs(o.PTUCost-want) > 1e-9 || o.TokenCost != 0 {
		t.Errorf("cost %v and %v, want %v and nothing", o.PTUCost, o.TokenCost, want)
	}
}

// A minute's tokens that are used up refuse until the minute is over, if nobody else
// serves and the wait is too long.
func TestMinuteOfPayAsYouGo(t *testing.T) {
	l := steady(60, time.Second)
	o := replayed(t, l, Scenario{Config: parsed(t, pool), Capacity: capacities(t, "ptu=15ptu", "ptu/gpt-4o=1tpm", "payg=4ktpm")})
	if payg := o.Backends[1]; payg.Served < 9 || payg.Served > 11 || o.RefusedFor["every backend was throttled"] != o.Refused || o.Served+o.Refused != 60 {
		t.Errorf("served %d, refused %v", payg.Served, o.RefusedFor)
	}
}

func TestWhatASeedDecides(t *testing.T) {
	s, err := ParseSynthetic("bursts,peak=20rps,requests=3000,model=gpt-4o,consumers=3")
	if err != nil {
		t.Fatal(err)
	}
	l := s.Log()
	run := func(seed uint64) string {
		o := replayed(t, l, Scenario{Config: parsed(t, pool), Capacity: capacities(t, "ptu=15ptu", "payg=90ktpm,300rpm"), Seed: seed, Instances: 3})
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if a, b := run(1), run(1); a != b {
		t.Errorf("two runs of one seed differ:\n%s\n%s", a, b)
	}
	if run(1) == run(2) {
		t.Error("the seed decides nothing")
	}
}

func TestLimitsOfConsumers(t *testing.T) {
	text := strings.Replace(pool, `"models"`, `"consumers": [{"name": "team-a", "keySetting": "K", "requestsPerMinute": 20}], "models"`, 1)
	l := steady(59, time.Second)
	o := replayed(t, l, Scenario{Config: parsed(t, text), Capacity: capacities(t, "ptu=100ptu")})
	if n := o.RefusedFor["limit of the consumer: requestsPerMinute"]; o.Served < 19 || o.Served > 22 || n != o.Refused || o.Served+n != 59 {
		t.Errorf("served %d, refused %v", o.Served, o.RefusedFor)
	}
	text = strings.Replace(text, `"requestsPerMinute": 20`, `"models": ["other"]`, 1)
	text = strings.Replace(text, `"models": {`, `"models": {"other": {},`, 1)
	text = strings.Replace(text, `{"name": "payg"`, `{"name": "third", "endpoint": "https://c.openai.azure.com", "deployments": ["other"]}, {"name": "payg"`, 1)
	if o = replayed(t, l, Scenario{Config: parsed(t, text), Capacity: capacities(t, "ptu=100ptu")}); o.RefusedFor["model not allowed"] != 59 {
		t.Errorf("%v", o.RefusedFor)
	}
}

func TestWaitsForAPoolThatReopensSoon(t *testing.T) {
	text := strings.Replace(pool, `,
    {"name": "payg", "endpoint": "https://b.openai.azure.com", "priority": 2, "deployments": ["gpt-4o"]}`, "", 1)
	l := steady(10, time.Second)
	o := replayed(t, l, Scenario{Config: parsed(t, text), Capacity: capacities(t, "ptu=18000tpm"), MaxWait: 2 * time.Second})
	if o.Served != 10 {
		t.Errorf("served %d: %v", o.Served, o.RefusedFor)
	}
	waiting := replayed(t, l, Scenario{Config: parsed(t, text), Capacity: capacities(t, "ptu=6000tpm"), MaxWait: 2 * time.Second})
	none := replayed(t, l, Scenario{Config: parsed(t, text), Capacity: capacities(t, "ptu=6000tpm")})
	if waiting.Waited == 0 || waiting.WaitTime == 0 || none.Waited != 0 || waiting.Served <= none.Served {
		t.Errorf("with waits: served %d, waited %d for %v ms; without: %d and %d", waiting.Served, waiting.Waited, waiting.WaitTime, none.Served, none.Waited)
	}
}

func TestWhatAScenarioLacksIsSaid(t *testing.T) {
	l := steady(2, time.Second)
	for name, c := range map[string]struct {
		capacity Capacities
		want     string
	}{
		"no units":               {nil, "--capacity ptu=100ptu"},
		"units of pay-as-you-go": {capacities(t, "ptu=10ptu", "payg=10ptu"), "payg has 10 provisioned units"},
		"an unknown backend":     {capacities(t, "ptu=10ptu", "paygo=10ktpm"), `"paygo"`},
	} {
		if _, err := Run(t.Context(), l, &Scenario{Name: "x", Config: parsed(t, pool), Capacity: c.capacity}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	text := strings.ReplaceAll(pool, "gpt-4o", "own-model")
	l.Models = Names{}
	l.Models.number("own-model")
	s := &Scenario{Name: "x", Config: parsed(t, text), Capacity: capacities(t, "ptu=10ptu")}
	if _, err := Run(t.Context(), l, s); err == nil || !strings.Contains(err.Error(), "--ptu-tokens own-model=") {
		t.Errorf("an unknown model: %v", err)
	}
	s.Units = Throughputs{}
	if err := s.Units.Parse("own-model=3000x4"); err != nil || s.Units["own-model"] != (Throughput{InputTPM: 3000, Weight: 4}) {
		t.Errorf("%v: %v", s.Units, err)
	}
	if _, err := Run(t.Context(), l, s); err != nil {
		t.Error(err)
	}
}

func TestCapacitiesAreRead(t *testing.T) {
	for text, want := range map[string]Capacity{
		"a=100ptu": {Units: 100}, "a=450ktpm,2700rpm": {TokensPerMinute: 450_000, RequestsPerMinute: 2700}, "a=1.5mTPM": {TokensPerMinute: 1_500_000}, "a=60rpm": {RequestsPerMinute: 60},
	} {
		if all := capacities(t, text); all["a"] != want {
			t.Errorf("%s: %v, want %v", text, all["a"], want)
		}
	}
	for _, text := range []string{"", "a", "a=", "=5ptu", "a=5", "a=-5ptu", "a=0ptu", "a=nantpm", "a=1e99tpm", "a=5ptu,5tpm", "a=5pt"} {
		if err := (Capacities{}).Parse(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

// A backend of another kind takes as long as its kind does in the log.
func TestTimesAreThoseOfTheKind(t *testing.T) {
	l := steady(400, time.Second)
	fast, slow := l.Backends.number("ptu"), l.Backends.number("payg")
	for i := range l.Records {
		x := &l.Records[i]
		if x.Backend = fast; i%2 == 1 {
			x.Backend, x.First, x.Total = slow, 800_000, 5_750_000 // 50 ms for each token
		}
	}
	times := Learn(l, parsed(t, pool))
	r := random(1)
	for i := range 2 {
		x := &l.Records[i]
		for kind, want := range map[capacityKind][2]time.Duration{
			provisioned: {200 * time.Millisecond, 900 * time.Millisecond}, payAsYouGo: {800 * time.Millisecond, 5750 * time.Millisecond},
		} {
			if first, total := times.of(x, kind, r); first != want[0] || (total-want[1]).Abs() > time.Millisecond {
				t.Errorf("request %d at kind %d: %v and %v, want %v", i, kind, first, total, want)
			}
		}
	}
}

func TestSizes(t *testing.T) {
	s, err := ParseSynthetic("constant,peak=5rps,requests=3000,model=gpt-4o")
	if err != nil {
		t.Fatal(err)
	}
	l := s.Log()
	for name, text := range map[string]string{
		"a pool with provisioned capacity": pool,
		"one without":                      strings.Replace(pool, `"priority": 1, "capacity": "provisioned"`, `"priority": 0`, 1),
	} {
		z, err := RunSizes(t.Context(), l, &Scenario{Config: parsed(t, text), PTUPrice: .01}, Sizing{Model: "gpt-4o", To: 400, Step: 50})
		if err != nil {
			t.Fatal(err)
		}
		last := 0.0
		for i, one := range z.All {
			if one.Units != 50*i || one.Provisioned < last-.001 || math.Abs(one.Cost-one.PTUCost-one.TokenCost) > 1e-9 {
				t.Errorf("%s: %+v", name, one)
			}
			last = one.Provisioned
			if want := (z.All[0].TokenCost - one.TokenCost) / (float64(one.Units) * z.Hours); i > 0 && math.Abs(one.BreakEven-want) > 1e-9 {
				t.Errorf("%s: %d units pay up to %v, want %v", name, one.Units, one.BreakEven, want)
			}
		}
		if z.All[0].Provisioned != 0 || z.All[0].PTUCost != 0 || last < .99 || z.Cheapest == 0 || z.Knee < 50 || z.Knee > 350 {
			t.Errorf("%s: knee %d, cheapest %d: %+v", name, z.Knee, z.Cheapest, z.All)
		}
	}
	for _, z := range []Sizing{{Model: "gpt-4o", From: -1, To: 5, Step: 1}, {Model: "gpt-4o", From: 9, To: 5, Step: 1}, {Model: "gpt-4o", To: 1e9, Step: 1}, {Model: "gpt-4o", To: 9}, {Model: "other", To: 9, Step: 1}} {
		if _, err := RunSizes(t.Context(), l, &Scenario{Config: parsed(t, pool)}, z); err == nil {
			t.Errorf("%+v was accepted", z)
		}
	}
}

func TestKnee(t *testing.T) {
	curve := func(shares ...float64) (all []Size) {
		for i, s := range shares {
			all = append(all, Size{Units: 10 * i, Provisioned: s})
		}
		return all
	}
	for _, c := range []struct {
		all  []Size
		want int
	}{{curve(0, .5, .9, .95, 1), 20}, {curve(0, .25, .5, .75, 1), -1}, {curve(1), -1}, {curve(0, 0, 0), -1}, {curve(0, .9, .95, 1), 10}, {curve(0, .174, .338, .485, .619), -1}} {
		if got := knee(c.all); got != c.want {
			t.Errorf("%v: %d, want %d", c.all, got, c.want)
		}
	}
}

func TestSyntheticTrafficIsAsDescribed(t *testing.T) {
	s, err := ParseSynthetic("office-hours,peak=5rps,days=7,consumers=2,cached=0.5,model=gpt-4o")
	if err != nil {
		t.Fatal(err)
	}
	l := s.Log()
	if again := s.Log(); !reflect.DeepEqual(l, again) {
		t.Error("the seed does not decide it")
	}
	hours := map[int]int{}
	weekend := 0
	var prompts, streams float64
	for i := range l.Records {
		x := &l.Records[i]
		at := time.Unix(0, x.At).UTC()
		if d := at.Weekday(); d == time.Saturday || d == time.Sunday {
			weekend++
		} else {
			hours[at.Hour()]++
		}
		prompts += math.Log(float64(x.Prompt))
		if x.Stream {
			streams++
		}
	}
	n := float64(len(l.Records))
	if peak := float64(hours[10]) / 5 / 3600; peak < 4.5 || peak > 5 {
		t.Errorf("%v a second at ten", peak)
	}
	if night := float64(hours[3]) / 5 / 3600; night < .12 || night > .19 {
		t.Errorf("%v a second at night", night)
	}
	if median := math.Exp(prompts / n); median < 880 || median > 920 || streams/n < .69 || streams/n > .71 || weekend == 0 || float64(weekend) > .1*n {
		t.Errorf("median prompt %v, streams %v, weekend %d of %v", median, streams/n, weekend, n)
	}
	for _, text := range []string{"", "hours", "constant,peak=0", "constant,peak=x", "constant,colour=red", "constant,days=-1", "constant,peak"} {
		if _, err := ParseSynthetic(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestReportIsOnePageThatLoadsNothing(t *testing.T) {
	l := steady(10, time.Second)
	l.omit("<b>odd</b>", "a.log:1")
	s := Scenario{Name: `<script>alert("x")</script>`, Config: parsed(t, pool), Capacity: capacities(t, "ptu=6000tpm"), PTUPrice: 2}
	o, err := Run(t.Context(), l, &s)
	if err != nil {
		t.Fatal(err)
	}
	z, err := RunSizes(t.Context(), l, &Scenario{Config: parsed(t, pool), PTUPrice: 2}, Sizing{Model: "gpt-4o", To: 30, Step: 15})
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	if err := NewReport(l, Learn(l), []*Outcome{o}, z).WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, no := range []string{"<script", "http://", "https://", "<b>odd", "ZgotmplZ", "src=", "@import", "NaN"} {
		if strings.Contains(page.String(), no) {
			t.Errorf("the page has %q", no)
		}
	}
	for _, want := range []string{"5 (50.0 %)", "team-a", "Replay of 10 requests", "&lt;b&gt;odd", z.Sentence(), "</html>"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// A limit of requests is named by the 429 of a classic address alone, and then obeyed for
// a second at least: of 12 requests, one every 990 ms, the 11th is refused at 9.9 s, and
// the window of 10 s is over when the 12th comes, but not that second.
func TestLimitOfRequestsIsNamedByTheClassicAddressAlone(t *testing.T) {
	for classic, want := range map[bool]int{false: 11, true: 10} {
		l := steady(12, 990*time.Millisecond)
		for i := range l.Records {
			l.Records[i].Classic = classic
		}
		o := replayed(t, l, Scenario{Config: parsed(t, strings.Replace(pool, "provisioned", "pay-as-you-go", 1)), Capacity: capacities(t, "ptu=60rpm")})
		if got := o.Backends[0].Served; got != want || o.Throttle != 1 {
			t.Errorf("classic %v: served %d, want %d; %d times refused", classic, got, want, o.Throttle)
		}
	}
}

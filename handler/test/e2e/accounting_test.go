package e2e_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// totals is what a row of the records holds: requests, tokens of the prompt, of
// these cached, tokens of the answer, billionths of a dollar, requests whose
// answer did not say what it used, and those that ended early.
type totals [7]int64

var totalNames = [7]string{"requests", "prompt", "cached", "completion", "cost", "unmetered", "broken"}

func (s totals) plus(o totals) totals {
	for i := range s {
		s[i] += o[i]
	}
	return s
}

func (s totals) minus(o totals) totals {
	for i := range s {
		s[i] -= o[i]
	}
	return s
}

func (s totals) String() string {
	var parts []string
	for i := range s {
		parts = append(parts, fmt.Sprint(s[i], " ", totalNames[i]))
	}
	return strings.Join(parts, ", ")
}

type totalsByKey map[accountingKey]totals

func (l totalsByKey) add(at accountingKey, s totals) { l[at] = l[at].plus(s) }

func (l totalsByKey) total() (all totals) {
	for _, s := range l {
		all = all.plus(s)
	}
	return all
}

// journalTotals is what the service's journal says that a purchase used, as far as the
// answer reported it, which the service does at the end of an answer and nowhere
// else.
func journalTotals(p *accountedRequest, e *simulator.Entry) totals {
	if e.Outcome != simulator.Served {
		return totals{0: 1, 5: 1, 6: 1}
	}
	price, cached := testPrices[p.model], e.CachedTokens
	if e.Operation == "embeddings" {
		cached = 0 // these answers do not say
	}
	cost := float64(e.PromptTokens-cached)*price.input + float64(cached)*price.cached + float64(e.CompletionTokens)*price.output
	return totals{1, int64(e.PromptTokens), int64(cached), int64(e.CompletionTokens), int64(math.Round(cost * 1e3)), 0, 0}
}

// expectedTotals is what the service knows to have sold: by those who live, by the
// one that was killed, and of that what it had not written down at the time.
func (s *accountingRig) expectedTotals(killed *instanceProcess, since time.Time) (living, dead, unwritten totalsByKey) {
	s.t.Helper()
	living, dead, unwritten = totalsByKey{}, totalsByKey{}, totalsByKey{}
	journal, ends := s.journal(), requestEndTimes(s.t, killed)
	for i := range s.sent {
		p := &s.sent[i]
		if p.backend == "" {
			continue // nobody served, or nobody lived to tell
		}
		e := journal[fmt.Sprint(p.n, " ", p.backend)]
		if e == nil {
			s.t.Errorf("number %d was served by %s, which knows nothing of it", p.n, p.backend)
			continue
		}
		at, sum := accountingKey{p.consumer, p.model, p.backend}, journalTotals(p, e)
		if e.Header.Get("Api-Key") != memberKey(2) {
			living.add(at, sum)
			if p.complete != (e.Outcome == simulator.Served) {
				s.t.Errorf("number %d: whole %v to the caller, %s to the service", p.n, p.complete, e.Outcome)
			}
			continue
		}
		dead.add(at, sum)
		if end, listed := ends[p.request]; !listed || end.After(since) {
			unwritten.add(at, sum)
		}
	}
	return living, dead, unwritten
}

// requestEndTimes is when each request ended, by the lines of the log.
func requestEndTimes(t *testing.T, p *instanceProcess) map[string]time.Time {
	t.Helper()
	ends := map[string]time.Time{}
	for line := range strings.Lines(p.out.String() + p.errs.String()) {
		var l struct {
			Msg   string    `json:"msg"`
			Time  time.Time `json:"time"`
			ID    string    `json:"request_id"`
			Total float64   `json:"total_ms"`
		}
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "request" {
			ends[l.ID] = l.Time.Add(time.Duration(l.Total * float64(time.Millisecond)))
		}
	}
	return ends
}

// storedTotals is what `spillway usage` says that backends reported.
func (s *accountingRig) storedTotals() totalsByKey {
	s.t.Helper()
	out, errs, code := command(s.t, append(s.env, "BACKEND_KEY=-"), "usage", "--from", "3h", "--by", "consumer,model,backend", "--csv")
	if code != 0 {
		s.t.Fatalf("usage: exit code %d: %s", code, errs)
	}
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) < 2 || strings.Join(rows[0][:3], " ") != "consumer model backend" {
		s.t.Fatalf("usage says %v: %s", err, out)
	}
	recorded := totalsByKey{}
	for _, row := range rows[1:] {
		number := func(column string) float64 {
			n, err := strconv.ParseFloat(row[max(0, slices.Index(rows[0], column))], 64)
			if err != nil {
				s.t.Fatalf("usage has no number %s: %s", column, out)
			}
			return n
		}
		reported := func(what string) float64 { return number(what) - number("estimated_"+what) }
		recorded.add(accountingKey{row[0], row[1], row[2]}, totals{
			int64(number("requests")), int64(reported("prompt")), int64(number("cached")), int64(reported("completion")),
			int64(math.Round(reported("cost") * 1e9)), int64(number("unmetered")), int64(number("broken")),
		})
	}
	return recorded
}

// compareTotals compares the records with the service's journal, row by row.
func (s *accountingRig) compareTotals(recorded, living, dead, unwritten totalsByKey) {
	s.t.Helper()
	places := map[accountingKey]bool{}
	for _, l := range []totalsByKey{recorded, living, dead} {
		for at := range l {
			places[at] = true
		}
	}
	for at := range places {
		most := living[at].plus(dead[at])
		least := most.minus(unwritten[at])
		for i := range most {
			slack := int64(0)
			if totalNames[i] == "cost" {
				slack = most[0] // each is rounded to a billionth
			}
			if recorded[at][i] < least[i]-slack || recorded[at][i] > most[i]+slack {
				s.t.Errorf("%v: stored are %d %s, by the service's journal between %d and %d", at, recorded[at][i], totalNames[i], least[i], most[i])
			}
		}
	}
	lost := living.total().plus(dead.total()).minus(recorded.total())
	s.t.Logf("sold:  %v", living.total().plus(dead.total()))
	s.t.Logf("recorded: %v", recorded.total())
	s.t.Logf("lost with the one that was killed: %v", lost)
	s.t.Logf("bound, by its log:                 %v", unwritten.total())
	if lost[0] == 0 || dead.total() == unwritten.total() {
		s.t.Errorf("%d requests were lost of %d that the killed one served: the test proves nothing", lost[0], dead.total()[0])
	}
}

// checkOutcomes checks that there was something of everything.
func (s *accountingRig) checkOutcomes() {
	s.t.Helper()
	outcomes, struck := map[simulator.Outcome]int{}, map[string]int{}
	for _, e := range s.sim.Journal() {
		outcomes[e.Outcome]++
		struck[e.Fault]++
	}
	hedged := 0
	for _, p := range s.instances {
		hedged += strings.Count(p.out.String(), `"hedge":true`)
	}
	s.t.Logf("%d sold; the service: %v, faults %v; %d second attempts", len(s.sent), outcomes, struck, hedged)
	if outcomes[simulator.Broken] == 0 || outcomes[simulator.Disconnected] == 0 || outcomes[simulator.Failed] == 0 || outcomes[simulator.Throttled] == 0 || hedged == 0 {
		s.t.Error("some kind of request is missing")
	}
}

// flushUsage has a process write down what it knows: its page shows everything.
func (p *instanceProcess) flushUsage() (total struct {
	Prompt, Cached, Completion int64
},
) {
	p.t.Helper()
	a := ask(p.t.Context(), p.t, http.MethodGet, p.url+"/ops/api/usage?from="+time.Now().UTC().Add(-3*time.Hour).Format(time.RFC3339), "", "x-spillway-operator-key", accountingOperatorKey)
	var answer struct {
		Total []struct {
			Prompt     int64 `json:"prompt"`
			Cached     int64 `json:"cached"`
			Completion int64 `json:"completion"`
		} `json:"total"`
	}
	if err := json.Unmarshal([]byte(a.body), &answer); err != nil || a.status != http.StatusOK || len(answer.Total) > 1 {
		p.t.Errorf("/ops/api/usage: %d, %v: %s", a.status, err, a.body)
		return total
	}
	for _, t := range answer.Total {
		total = struct{ Prompt, Cached, Completion int64 }{t.Prompt, t.Cached, t.Completion}
	}
	return total
}

// verify stops everything in good order and compares its records with the journal.
func (s *accountingRig) verify(killed *instanceProcess, since time.Time) {
	s.t.Helper()
	for _, p := range s.instances[1:] {
		p.terminate()
	}
	page := s.instances[0].flushUsage()
	s.instances[0].terminate()
	s.checkOutcomes()
	recorded := s.storedTotals()
	living, dead, unwritten := s.expectedTotals(killed, since)
	s.compareTotals(recorded, living, dead, unwritten)
	if all := recorded.total(); page.Prompt < all[1] || page.Cached != all[2] || page.Completion < all[3] {
		s.t.Errorf("the page says %+v, the command %v reported by backends", page, all)
	}
}

// Three processes share a table; one of them stores its usage, serves on, and is
// killed. What it had stored is there, and all of the others'.
func TestUsageMatchesBackendJournal(t *testing.T) {
	t.Parallel()
	s := newAccountingRig(t)
	killed := s.instances[2]
	s.sendRange(0, 300, map[int]func(){150: func() { killed.flushUsage() }})
	s.awaitLogLines(killed)
	since := time.Now()
	killed.flushUsage()
	s.sendRange(300, 600, map[int]func(){450: func() { killed.kill(); s.startInstance(2, 3) }})
	s.verify(killed, since)
}

// The same while the processes store by themselves: one that is killed loses
// what it served within the last half minute, and the time of one exchange with
// the table.
func TestSoakUsageMatchesBackendJournal(t *testing.T) {
	if os.Getenv("SPILLWAY_SOAK") == "" {
		t.Skip("it takes more than a minute: SPILLWAY_SOAK=2m go test ./handler/test/e2e -run TestSoakUsage")
	}
	s := newAccountingRig(t)
	s.pacing = 17 * time.Millisecond
	killed := s.instances[2]
	var since time.Time
	s.sendRange(0, 5000, map[int]func(){
		3500: func() { since = time.Now().Add(-35 * time.Second); killed.kill(); s.startInstance(2, 3) },
	})
	s.verify(killed, since)
}

package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
	"spillway/handler/internal/tablestore/storetest"
)

// transcriptCase is one exchange as its caller knows it.
type transcriptCase struct {
	consumer, id, request, answer string
}

// twoTeams are two consumers with keys of their own, of whom the first has
// transcripts kept.
func twoTeams() (document map[string]any, env []string) {
	consumers := []map[string]any{
		{"name": "team-a", "keySetting": "TEAM_A_KEY", "transcripts": true},
		{"name": "team-b", "keySetting": "TEAM_B_KEY"},
	}
	// No circuit opens: what is to fail is tried.
	return map[string]any{"consumers": consumers, "circuitBreaker": map[string]any{"failures": 100}}, []string{"SPILLWAY_AUTH=key", "TEAM_A_KEY=" + keyForTeam("team-a"), "TEAM_B_KEY=" + keyForTeam("team-b")}
}

func keyForTeam(team string) string { return "key-of-" + team + "-0123456789abcdef" }

// sendTranscriptCases is what both teams say: plain, streamed, failed over, a body of
// more than 2 MiB, a stream that breaks, and one whose caller leaves.
func sendTranscriptCases(r *rig, team string) []transcriptCase {
	r.t.Helper()
	plain := fmt.Sprintf(`{"model":"gpt-4o","messages":[{"role":"user","content":"I am %s"}]}`, team)
	stream := strings.Replace(plain, `{`, `{"stream":true, `, 1)
	long := strings.Replace(plain, "I am", strings.Repeat("as I said before, \\u00e4 ", 100_000)+"I am", 1)
	first := func(f simulator.Fault) func() { return func() { r.sim.Next("a", f) } }
	var all []transcriptCase
	for _, c := range []struct {
		body    string
		prepare func()
		broken  bool
	}{
		{plain, func() {}, false},
		{stream, func() {}, false},
		{plain, first(simulator.Fault{Action: "503"}), false},
		{stream, first(simulator.Fault{Action: "503"}), false},
		{long, func() {}, false},
		{stream, first(simulator.Fault{Action: "cut-abort", Chunks: 8}), true},
	} {
		c.prepare()
		a := r.post(chatPath, c.body, "api-key", keyForTeam(team))
		if a.status != http.StatusOK || (a.err != nil) != c.broken || a.body == "" {
			r.t.Fatalf("%d, %v: %.300s", a.status, a.err, a.body)
		}
		all = append(all, transcriptCase{team, a.header.Get("X-Request-Id"), c.body, a.body})
	}
	return append(all, r.sendAndDisconnect(team, stream))
}

// sendAndDisconnect is a stream whose caller leaves when it has heard something.
func (r *rig) sendAndDisconnect(team, body string) transcriptCase {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.host.HandlerURL()+chatPath, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("api-key", keyForTeam(team))
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	heard := make([]byte, 64)
	n, err := io.ReadFull(res.Body, heard)
	if err != nil {
		r.t.Fatal(err)
	}
	return transcriptCase{team, res.Header.Get("X-Request-Id"), body, string(heard[:n])}
}

func TestTranscriptsAreByteExactForOptedInConsumers(t *testing.T) {
	t.Parallel()
	connection := storetest.Azurite(t) + startBlobService(t)
	doc, env := twoTeams()
	deployment := simulator.Deployment{AnswerTokens: 40, PerToken: 5 * time.Millisecond}
	r := start(t, setup{
		backends: []backend{{name: "a", priority: 1, deployment: deployment}, {name: "b", priority: 2, deployment: deployment}}, document: doc,
		env: append(env, "SPILLWAY_STATE="+connection, "SPILLWAY_TRANSCRIPTS=transcripts"),
	})
	ours, theirs := sendTranscriptCases(r, "team-a"), sendTranscriptCases(r, "team-b")
	kept := openContainer(t, connection, "transcripts")
	var names []string
	for deadline := time.Now().Add(time.Minute); len(names) < 2*len(ours) && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		names = kept.blobNames()
	}
	if len(names) != 2*len(ours) {
		t.Errorf("%d blobs, want %d: %v", len(names), 2*len(ours), names)
	}
	for i, s := range ours {
		request, answer := kept.blob(names, s.id+".request"), kept.blob(names, s.id+".answer")
		if request != s.request {
			t.Errorf("request %d: %d bytes are kept, %d were sent", i, len(request), len(s.request))
		}
		if left := i == len(ours)-1; answer != s.answer && (!left || !strings.HasPrefix(answer, s.answer)) {
			t.Errorf("answer %d: %d bytes are kept, %d were heard:\n%.400s\n%.400s", i, len(answer), len(s.answer), answer, s.answer)
		}
	}
	for _, s := range theirs {
		if slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, s.id) || strings.Contains(name, "team-b") }) {
			t.Errorf("%s of team-b is kept", s.id)
		}
	}
	if served := len(r.sim.Journal()); served < 14 {
		t.Errorf("the backends saw %d requests: what was to fail over did not", served)
	}
}

// blob is the one whose name ends so.
func (a blobContainer) blob(names []string, end string) string {
	a.t.Helper()
	for _, name := range names {
		if strings.HasSuffix(name, "/team-a/"+end) && strings.HasPrefix(name, time.Now().UTC().Format("2006/01/")) {
			text, h := a.get(name)
			if h["Consumer"] != "team-a" || h["Model"] != "gpt-4o" || h["Status"] != "200" {
				a.t.Errorf("%s has the metadata %v", name, h)
			}
			return text
		}
	}
	a.t.Errorf("%s is not kept in its place, but %v", end, names)
	return ""
}

func TestTranscriptRedaction(t *testing.T) {
	t.Parallel()
	connection := storetest.Azurite(t) + startBlobService(t)
	doc, env := twoTeams()
	const secret = "patient-4711-0815"
	r := start(t, setup{
		backends: []backend{{name: "a", priority: 1, deployment: simulator.Deployment{Answer: "It is " + secret + ", as you know."}}}, document: doc,
		env: append(env, "SPILLWAY_STATE="+connection, "SPILLWAY_TRANSCRIPTS=transcripts", `SPILLWAY_TRANSCRIPTS_REDACT=["patient-[0-9-]+"]`),
	})
	for _, stream := range []string{"", `"stream":true,`} {
		a := r.post(chatPath, `{`+stream+`"model":"gpt-4o","messages":[{"role":"user","content":"Who is `+secret+`?"}]}`, "api-key", keyForTeam("team-a"))
		if a.status != http.StatusOK || stream == "" && !strings.Contains(a.body, secret) {
			t.Fatalf("%d: %.400s", a.status, a.body)
		}
	}
	kept := openContainer(t, connection, "transcripts")
	var names []string
	for deadline := time.Now().Add(time.Minute); len(names) < 4 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		names = kept.blobNames()
	}
	if len(names) != 4 {
		t.Fatalf("%d blobs, want 4", len(names))
	}
	for _, name := range names {
		if text, _ := kept.get(name); strings.Contains(text, "4711") || !strings.Contains(text, "[redacted]") {
			t.Errorf("%s keeps %s", name, text)
		}
	}
}

// Two instances whose container refuses connections, or takes them and never
// answers, serve all the same, and count what they drop.
func TestTranscriptStorageDoesNotBlockRequests(t *testing.T) {
	t.Parallel()
	askWithFailingStorage(t, 200)
}

func TestSoakTranscriptStorageDoesNotDelayRequests(t *testing.T) {
	if os.Getenv("SPILLWAY_SOAK") == "" {
		t.Skip("it measures real time: SPILLWAY_SOAK=1m go test ./handler/test/e2e -run TestSoakTranscript")
	}
	took := askWithFailingStorage(t, 600)
	for i, name := range []string{"the container is down", "the container hangs", "nothing is kept"} {
		t.Logf("%-21s %s", name, spread(took[i]))
		if more := quantile(took[i], .5) - quantile(took[2], .5); more > 2*time.Millisecond {
			t.Errorf("%s: %v more at the median", name, more)
		}
		if more := quantile(took[i], .99) - quantile(took[2], .99); more > max(10*time.Millisecond, 2*quantile(took[2], .99)) {
			t.Errorf("%s: %v more at the 99th percentile", name, more)
		}
	}
}

// askWithFailingStorage asks three instances in turn: one whose container
// refuses connections, one whose container never answers, and one that keeps
// nothing. It returns how long each took.
func askWithFailingStorage(t *testing.T, requests int) (took [3][]time.Duration) {
	t.Helper()
	connection := storetest.Azurite(t)
	doc, env := twoTeams()
	s := setup{backends: []backend{{name: "a", priority: 1}}, document: doc}
	sim := simulator.Start(t, simulator.Config{Resources: resources(s.backends), Journal: -1})
	env = append(env, "SPILLWAY_CONFIG="+document(t, sim, s), "SPILLWAY_STATE="+connection)
	keeping := func(endpoint string) *instanceProcess {
		return startInstanceProcess(t, append(slices.Clone(env), "SPILLWAY_TRANSCRIPTS=transcripts", "SPILLWAY_STATE="+connection+"BlobEndpoint="+endpoint+"/devstoreaccount1;")...)
	}
	dead, stuck, none := keeping("http://"+freeAddress(t)), keeping(unresponsiveEndpoint(t)), startInstanceProcess(t, env...)
	for range requests {
		for i, p := range []*instanceProcess{dead, stuck, none} {
			began := time.Now()
			if a := ask(t.Context(), t, http.MethodPost, p.url+chatPath, hello, "api-key", keyForTeam("team-a")); a.status != http.StatusOK {
				t.Fatalf("%d, %v: %s", a.status, a.err, a.body)
			}
			took[i] = append(took[i], time.Since(began))
		}
	}
	const failure = `"part":"transcripts","state":"degraded"`
	dead.out.await(t, failure)
	if n := strings.Count(dead.out.String()+dead.errs.String(), failure); n != 1 {
		t.Errorf("%d lines report that the container is down, want 1", n)
	}
	dropped := func() float64 {
		return scrape(t, dead.url)["spillway_transcripts_dropped_total"].GetMetric()[0].GetCounter().GetValue()
	}
	for deadline := time.Now().Add(time.Minute); dropped() < float64(2*requests) && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	if n := dropped(); n != float64(2*requests) {
		t.Errorf("%v blobs are counted as dropped, want %d", n, 2*requests)
	}
	return took
}

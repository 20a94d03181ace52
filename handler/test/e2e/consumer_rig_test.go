package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/azure"
	"spillway/handler/internal/tablestore/storetest"
	"spillway/handler/test/funchost"
)

// consumerFleet is several instances of the program, each a process behind its
// own host, with its own proxy to one table.
type consumerFleet struct {
	*rig
	hosts []*funchost.Host
	ways  []*tableProxy
	table string // its connection string
	env   []string
}

// startConsumerFleet brings up so many instances of the setup.
func startConsumerFleet(t *testing.T, n int, s setup) *consumerFleet {
	t.Helper()
	c := &consumerFleet{table: storetest.StartAzurite(t).ConnectionString}
	seen := newHistory(n)
	c.ways = append(c.ways, openTableProxy(t, seen, 0, c.table))
	plain := s.env
	s.env = append(plain, "SPILLWAY_STATE="+c.ways[0].connection())
	c.rig = start(t, s)
	if s.backends == nil {
		s.backends = threeBackends()
	}
	c.env = append([]string{"SPILLWAY_CONFIG=" + document(t, c.sim, s), "BACKEND_KEY=-", "AzureWebJobsStorage="}, plain...)
	c.env = append(c.env, "SPILLWAY_STATE="+c.table)
	c.hosts = append(c.hosts, c.host)
	for i := 1; i < n; i++ {
		w := openTableProxy(t, seen, i, c.table)
		c.ways = append(c.ways, w)
		s.env = append(plain[:len(plain):len(plain)], "SPILLWAY_STATE="+w.connection())
		c.hosts = append(c.hosts, c.handler(s))
	}
	for _, h := range c.hosts {
		if a := ask(t.Context(), t, http.MethodGet, h.URL+"/health/live", ""); a.status != http.StatusOK {
			t.Fatalf("an instance does not live: %d, %v", a.status, a.err)
		}
	}
	return c
}

// keys runs `spillway keys` as an operator would.
func (c *consumerFleet) keys(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	return command(c.t, c.env, append([]string{"keys"}, args...)...)
}

// issue makes a key of the consumer and returns it with its id.
func (c *consumerFleet) issue(consumer string, more ...string) (key, id string) {
	c.t.Helper()
	out, errs, code := c.keys(append([]string{"add", consumer}, more...)...)
	key = strings.TrimSuffix(out, "\n")
	_, after, _ := strings.Cut(errs, "(id ")
	id, _, _ = strings.Cut(strings.ReplaceAll(after, ",", ")"), ")")
	if code != 0 || !strings.HasPrefix(key, "spw_") || id == "" {
		c.t.Fatalf("keys add: exit code %d: %s%s", code, out, errs)
	}
	return key, id
}

// ask sends a request with a key to one of the instances.
func (c *consumerFleet) ask(n int, key, body string) answer {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		a := ask(c.t.Context(), c.t, http.MethodPost, c.hosts[n%len(c.hosts)].URL+chatPath, body, "api-key", key)
		late := strings.Contains(a.body, "quota_unknown") || strings.Contains(a.body, "credential_unavailable")
		if a.status != http.StatusServiceUnavailable || !late || time.Now().After(deadline) {
			return a // else the table is late, and the answer says to ask again
		}
	}
}

// rows are all rows of one of the program's tables.
func (c *consumerFleet) rows(name string) []tablestore.Row {
	c.t.Helper()
	store, err := azure.Connect(c.table, "spillway"+name, azure.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	rows, _, err := store.List(c.t.Context(), "", "", "")
	if err != nil {
		c.t.Fatal(err)
	}
	return rows
}

// granted is what was granted according to the table of a limit, in the window it is in.
func (c *consumerFleet) granted(consumer, limit string) int64 {
	c.t.Helper()
	store, err := azure.Connect(c.table, "spillwaybooks", azure.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	row, _, err := store.Get(c.t.Context(), "q|"+consumer, limit+"-0")
	var record struct {
		Granted int64 `json:"g"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(row.Columns["q"]), &record)
	}
	if err != nil {
		c.t.Logf("%s of %s: %v", limit, consumer, err)
		return -1
	}
	return record.Granted
}

// chargedRequest is a request of a load, and what became of it.
type chargedRequest struct {
	at     time.Time
	took   time.Duration
	status int
	code   string
	tokens int64
	err    error
}

// spendingLoad is requests at a steady rate to all instances in turn.
type spendingLoad struct {
	stop  context.CancelFunc
	ended sync.WaitGroup
	mu    sync.Mutex
	all   []chargedRequest
}

// spend begins a load of so many requests a second with this key.
func (c *consumerFleet) spend(key, body string, perSecond float64) *spendingLoad {
	ctx, stop := context.WithCancel(c.t.Context())
	s := &spendingLoad{stop: stop}
	c.t.Cleanup(func() { s.finish() })
	paced(ctx, &s.ended, perSecond, func(i int) { s.add(c.one(i, key, body)) })
	return s
}

func (c *consumerFleet) one(n int, key, body string) chargedRequest {
	s := chargedRequest{at: time.Now()}
	a := c.ask(n, key, body)
	var said struct {
		Usage struct {
			Total int64 `json:"total_tokens"`
		} `json:"usage"`
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	_ = json.Unmarshal([]byte(a.body), &said)
	s.took, s.status, s.err, s.tokens, s.code = time.Since(s.at), a.status, a.err, said.Usage.Total, said.Error.Code
	return s
}

func (s *spendingLoad) add(x chargedRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, x)
}

// finish ends the load, waits for its answers, and returns what became of it.
func (s *spendingLoad) finish() charges {
	s.stop()
	s.ended.Wait()
	return charges(s.all)
}

// charges is what a load came to.
type charges []chargedRequest

func (b charges) tokens() (sum int64) {
	for i := range b {
		sum += b[i].tokens
	}
	return sum
}

// of counts the requests with this status and code; "" is any code.
func (b charges) of(status int, code string) (n int) {
	for i := range b {
		if b[i].status == status && (code == "" || b[i].code == code) {
			n++
		}
	}
	return n
}

// minutes are the tokens of each minute of the table's clock whose request has
// this text, by when a backend was asked: a caller may have waited for its turn
// before. The emulator has this machine's clock.
func (c *consumerFleet) minutes(text string) map[int64]int64 {
	by := map[int64]int64{}
	for _, e := range c.sim.Journal() {
		if strings.Contains(string(e.Body), text) {
			by[e.Time.Unix()/60] += int64(e.PromptTokens + e.CompletionTokens)
		}
	}
	return by
}

func (b charges) String() string {
	var times []time.Duration
	for i := range b {
		times = append(times, b[i].took)
	}
	return fmt.Sprintf("%d requests, %d served, %d over quota, %d tokens, %s", len(b), b.of(200, ""), b.of(429, "rate_limit_exceeded"), b.tokens(), spread(times))
}

// wantOnly checks that every request was served or over its quota.
func (b charges) wantOnly(t *testing.T, what string) {
	t.Helper()
	if other := len(b) - b.of(200, "") - b.of(429, "rate_limit_exceeded"); other > 0 {
		for i := range b {
			if x := &b[i]; x.status != 200 && x.code != "rate_limit_exceeded" {
				t.Errorf("%s: %d of %d were neither served nor over quota, such as %d %s: %v", what, other, len(b), x.status, x.code, x.err)
				return
			}
		}
	}
}

package e2e_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	jose "github.com/golang-jwt/jwt/v5"

	"spillway/handler/internal/simulator"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/azure"
)

// outputs is everything that somebody could come to read, by where.
type outputs struct {
	mu   sync.Mutex
	text map[string]*strings.Builder
}

func (h *outputs) record(where, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.text == nil {
		h.text = map[string]*strings.Builder{}
	}
	if h.text[where] == nil {
		h.text[where] = new(strings.Builder)
	}
	h.text[where].WriteString(text + "\n")
}

// find returns where the needle is.
func (h *outputs) find(needle string) (where []string) {
	for place, text := range h.text {
		if strings.Contains(text.String(), needle) {
			where = append(where, place)
		}
	}
	return where
}

// encodings are the forms in which a secret could show: as it is, in part, and as
// it is written in other places.
func encodings(secret string) []string {
	return []string{
		secret, secret[4:min(24, len(secret))], secret[max(0, len(secret)-20):], url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)),
		base64.RawURLEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret)),
	}
}

// secrets of the callers and of the program.
type secrets struct {
	good   []string // let their bearer in
	bad    []string // do not
	tokens []string // the parts of tokens, and what their claims hold
}

func (s *secrets) needles() (all []string) {
	for _, secret := range append(append([]string{backendKey, operatorKey}, s.good...), s.bad...) {
		if strings.Count(secret, ".") != 2 {
			all = append(all, encodings(secret)...)
		}
	}
	return append(all, s.tokens...)
}

const operatorKey = "CANARY-operators-0123456789"

// Whatever callers offer as proof, good or spoilt, in the right place or not,
// while backends fail: at the most talkative level nothing of it is in anything
// that somebody could come to read, but for the backends' own proof.
func TestNoCredentialAppearsInAnyOutput(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	s := i.trusting()
	s.env = append(s.env, "TEAM_KEY=CANARY-static-key-0123456789", "SPILLWAY_LOG_LEVEL=debug", "SPILLWAY_OPERATOR_KEY="+operatorKey, "SPILLWAY_MAX_WAIT=0")
	c := startConsumerFleet(t, 2, s)
	sec := c.plantSecrets(i)
	var h outputs
	var users sync.WaitGroup
	for n := range 6 {
		users.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(n), 2))
			for range 60 {
				c.useAnyhow(chance, sec, &h)
			}
		})
	}
	for _, action := range []string{"429-token", "500", "reset-before-headers", "error-200", "401-key", "cut-abort", "400-filter", "502-html"} {
		for _, b := range threeBackends() {
			c.sim.Next(b.name, simulator.Fault{Action: action, RetryAfter: 50 * time.Millisecond})
		}
		time.Sleep(100 * time.Millisecond)
	}
	users.Wait()
	i.setMode(failing)
	c.useAnyhow(rand.New(rand.NewPCG(9, 9)), sec, &h)
	_, _, _ = c.keys("revoke", "0123456789")
	c.gather(&h)
	for _, needle := range sec.needles() {
		if where := h.find(needle); where != nil {
			t.Errorf("%q is to be read in %v", needle, where)
		}
	}
	c.wantSearchFinds(&h, sec)
}

// plantSecrets has keys and tokens made, good and bad ones.
func (c *consumerFleet) plantSecrets(i *issuer) *secrets {
	c.t.Helper()
	issued, _ := c.issue("key-team")
	revoked, id := c.issue("key-team")
	if _, stderr, code := c.keys("revoke", id); code != 0 {
		c.t.Fatal(stderr)
	}
	s := &secrets{
		good: []string{"CANARY-static-key-0123456789", issued, i.token("upn", "CANARY-CLAIM-of-the-good@x")},
		bad: []string{
			revoked, "CANARY-guess-0123456789-0123456789", issued[:len(issued)-1] + "0", i.token("exp", 1000, "upn", "CANARY-CLAIM-of-the-old@x"),
			i.token("aud", "CANARY-CLAIM-audience"), i.token("iss", "https://CANARY-CLAIM-issuer/"), i.token("azp", "CANARY-CLAIM-app"), i.sign("one", i.claims("tid", "CANARY-CLAIM-tenant")),
			i.signedAs(jose.SigningMethodHS256, []byte(teamKey), map[string]any{"x": "CANARY-HEADER"}),
		},
		tokens: []string{"CANARY-CLAIM", "CANARY-HEADER"},
	}
	for _, token := range append(s.good, s.bad...) {
		if parts := strings.Split(token, "."); len(parts) == 3 {
			s.tokens = append(s.tokens, parts[1][:40], parts[1][len(parts[1])-40:])
			if len(parts[2]) > 40 {
				s.tokens = append(s.tokens, parts[2][:40])
			}
		}
	}
	return s
}

// useAnyhow offers a secret in some place, with some request.
func (c *consumerFleet) useAnyhow(chance *rand.Rand, s *secrets, h *outputs) {
	all := append(append([]string{}, s.good...), s.bad...)
	secret := all[chance.IntN(len(all))]
	header, path := []string{"Api-Key", secret}, chatPath
	switch chance.IntN(10) {
	case 0:
		header[0] = "Ocp-Apim-Subscription-Key"
	case 1:
		header, path = []string{"X-None", ""}, path+"?api-key="+url.QueryEscape(secret)
	case 2:
		header = append(header, "Authorization", "Bearer "+all[chance.IntN(len(all))])
	case 3:
		header = append(header, "X-Functions-Key", secret, "Cookie", "a="+secret, "X-Ms-Client-Principal", secret, "Proxy-Authorization", secret)
	case 4:
		header, path = []string{"Api_Key", secret}, path+"?code="+url.QueryEscape(secret)
	default:
		header = []string{"Authorization", "Bearer " + secret}
	}
	body := []string{hello, helloSSE, `{"model":"nope"}`, `{"model":`, huge}[chance.IntN(5)]
	a := ask(c.t.Context(), c.t, http.MethodPost, c.hosts[chance.IntN(len(c.hosts))].URL+path, body, header...)
	h.record("answers", fmt.Sprint(a.status, a.header, a.body, a.err))
}

// gather puts together what else is to be read.
func (c *consumerFleet) gather(h *outputs) {
	c.t.Helper()
	for _, host := range c.hosts {
		for _, path := range []string{"/ops/metrics", "/ops/api/status", "/ops/api/usage", "/ops/api/requests?last=200", "/ops/", "/health/ready"} {
			a := ask(c.t.Context(), c.t, http.MethodGet, host.URL+path, "", "x-spillway-operator-key", operatorKey)
			if a.status != http.StatusOK && path != "/health/ready" {
				c.t.Errorf("%s: %d %s", path, a.status, a.body)
			}
			h.record(path, fmt.Sprint(a.header, a.body))
		}
		h.record("answers", ask(c.t.Context(), c.t, http.MethodGet, host.URL+"/ops/api/status", "", "x-spillway-operator-key", "CANARY-guess-0123456789-0123456789").body)
	}
	for _, host := range c.hosts {
		host.Terminate(time.Minute) // its last lines are read then
		for _, line := range append(host.Stdout(), host.Stderr()...) {
			h.record("log", line.Text)
		}
	}
	for _, name := range []string{"", "books", "usage", "places"} {
		for _, row := range c.rows(name) {
			h.record("table", fmt.Sprint(row))
		}
	}
	for _, e := range c.sim.Journal() {
		delete(e.Header, "Api-Key") // the pool's own proof belongs there
		text, _ := json.Marshal(e)
		h.record("backends", string(text)+e.Path+e.RawQuery+string(e.Body)+fmt.Sprint(e.Header))
	}
}

// wantSearchFinds checks that the haystack is what it should be, and that a
// leak would be found in each part of it that the program writes.
func (c *consumerFleet) wantSearchFinds(h *outputs, s *secrets) {
	c.t.Helper()
	for needle, place := range map[string]string{
		`"consumer":"key-team"`: "log", `"caller":"oid-1"`: "log", `consumer="key-team"`: "/ops/metrics", "key-team": "table", "chat.completion": "answers",
		"invalid_api_key": "answers", "messages": "backends", "app-team": "/ops/api/status",
	} {
		if where := strings.Join(h.find(needle), " "); !strings.Contains(where, place) {
			c.t.Errorf("%q is not in the %s, only in %q: the search tells nothing", needle, place, where)
		}
	}
	store, err := azure.Connect(c.table, "spillwaybooks", azure.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, _, err := store.Upsert(c.t.Context(), tablestore.Row{Partition: "planted", Key: "0", Columns: map[string]string{"leak": s.good[1]}}); err != nil {
		c.t.Fatal(err)
	}
	for _, row := range c.rows("books") {
		h.record("planted", fmt.Sprint(row))
	}
	if where := h.find(s.good[1][4:24]); len(where) != 1 || where[0] != "planted" {
		c.t.Errorf("a key that was planted in the table is found in %v", where)
	}
}

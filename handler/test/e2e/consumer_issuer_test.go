package e2e_test

import (
	"bufio"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	jose "github.com/golang-jwt/jwt/v5"
)

// Who and what tokens are about in these tests.
const (
	tenantID   = "11111111-2222-3333-4444-555555555555"
	resourceID = "99999999-8888-7777-6666-555555555555"
	appID      = "aaaaaaaa-0000-4000-8000-000000000001"
	strangerID = "aaaaaaaa-0000-4000-8000-00000000000f"
	groupID    = "bbbbbbbb-0000-4000-8000-000000000002"
	roleName   = "Spillway.Call"
	v1Issuer   = "https://sts.windows.net/" + tenantID + "/"
)

// issuer is oauth2-mock-server as a process, in the place of Entra ID, and the
// proxy in front of it, which counts requests and can leave them unanswered.
type issuer struct {
	t       *testing.T
	url     string // the iss of its v2 tokens
	address string
	behind  string // the process
	stdout  *bufio.Scanner
	stdin   io.Writer

	mu     sync.Mutex
	server *http.Server
	mood   issuerMode
	asked  map[string]int // by the last part of the path
	hidden []string       // key ids that are not published
	keys   map[string]*rsa.PrivateKey
}

// issuerMode is how the issuer takes what it is asked.
type issuerMode uint8

const (
	answering issuerMode = iota
	failing              // 500
	hanging              // no answer
	rambling             // a page instead of keys
)

// startIssuer brings one up with the key "one".
func startIssuer(t *testing.T) *issuer {
	t.Helper()
	folder := tools(t)
	i := &issuer{t: t, address: freeAddress(t), asked: map[string]int{}, keys: map[string]*rsa.PrivateKey{}}
	i.listen()
	i.url = "http://" + i.address + "/" + tenantID + "/v2.0"
	cmd := exec.CommandContext(t.Context(), "node", "testdata/issuer.mjs", i.url)
	cmd.Env = append(os.Environ(), "SPILLWAY_TOOLS="+folder)
	cmd.Stderr = os.Stderr
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		i.refuse()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	i.stdin, i.stdout = in, bufio.NewScanner(out)
	i.stdout.Buffer(nil, 1<<20)
	var ready struct{ Port int }
	i.receiveRequest(&ready)
	i.behind = fmt.Sprintf("http://127.0.0.1:%d", ready.Port)
	i.generate("one", "RS256")
	return i
}

// receiveRequest reads the process's next line.
func (i *issuer) receiveRequest(into any) {
	i.t.Helper()
	if !i.stdout.Scan() {
		i.t.Fatalf("the issuer has ended: %v", i.stdout.Err())
	}
	if err := json.Unmarshal(i.stdout.Bytes(), into); err != nil {
		i.t.Fatalf("%s: %v", i.stdout.Bytes(), err)
	}
}

func (i *issuer) control(wish map[string]any, into any) {
	i.t.Helper()
	if err := json.NewEncoder(i.stdin).Encode(wish); err != nil {
		i.t.Fatal(err)
	}
	i.receiveRequest(into)
}

// generate has the issuer make and publish one more key. The tests get it too,
// for tokens that no issuer would sign.
func (i *issuer) generate(kid, alg string) {
	i.t.Helper()
	var made struct{ Key map[string]string }
	i.control(map[string]any{"do": "key", "kid": kid, "alg": alg}, &made)
	if made.Key["kty"] != "RSA" {
		return
	}
	number := func(name string) *big.Int {
		b, err := base64.RawURLEncoding.DecodeString(made.Key[name])
		if err != nil {
			i.t.Fatal(err)
		}
		return new(big.Int).SetBytes(b)
	}
	key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: number("n"), E: int(number("e").Int64())}, D: number("d"), Primes: []*big.Int{number("p"), number("q")}}
	key.Precompute()
	i.keys[kid] = key
}

// sign has the issuer sign claims with this key.
func (i *issuer) sign(kid string, claims jose.MapClaims) string {
	i.t.Helper()
	var signed struct{ Token string }
	i.control(map[string]any{"do": "sign", "kid": kid, "claims": claims}, &signed)
	return signed.Token
}

// claims are those of a good v2 access token of an application; the pairs are
// put over them, and nil takes one away.
func (i *issuer) claims(pairs ...any) jose.MapClaims {
	now := time.Now()
	return with(jose.MapClaims{
		"iss": i.url, "aud": resourceID, "tid": tenantID, "azp": appID, "oid": "oid-1", "sub": "sub-1", "ver": "2.0",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(75 * time.Minute).Unix(),
	}, pairs...)
}

func with(c jose.MapClaims, pairs ...any) jose.MapClaims {
	out := maps.Clone(c)
	for k := 0; k < len(pairs); k += 2 {
		name := pairs[k].(string)
		if out[name] = pairs[k+1]; pairs[k+1] == nil {
			delete(out, name)
		}
	}
	return out
}

// token is a good one but for the pairs.
func (i *issuer) token(pairs ...any) string {
	i.t.Helper()
	return i.sign("one", i.claims(pairs...))
}

// listen takes connections, again if need be, where it always did.
func (i *issuer) listen() {
	i.t.Helper()
	l, err := net.Listen("tcp", i.address)
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.address = l.Addr().String()
	i.server = &http.Server{Handler: i}
	go func(s *http.Server) { _ = s.Serve(l) }(i.server)
}

// refuse takes no connection.
func (i *issuer) refuse() {
	i.mu.Lock()
	defer i.mu.Unlock()
	_ = i.server.Close()
}

func (i *issuer) setMode(m issuerMode) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mood = m
}

// hide keeps a key out of what is published from now on.
func (i *issuer) hide(kid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.hidden = append(i.hidden, kid)
}

// fetches is how often the keys were asked for.
func (i *issuer) fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked["jwks"]
}

// discoveryFetches is how often the issuer was asked what it is.
func (i *issuer) discoveryFetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked["tion"]
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	last := r.URL.Path[len(r.URL.Path)-4:]
	i.mu.Lock()
	i.asked[last]++
	m, hidden := i.mood, slices.Clone(i.hidden)
	i.mu.Unlock()
	switch m {
	case failing:
		w.WriteHeader(http.StatusInternalServerError)
	case hanging:
		<-r.Context().Done()
	case rambling:
		_, _ = io.WriteString(w, "<html>We are sorry.</html>")
	case answering:
		i.pass(w, r, hidden)
	}
}

// pass forwards to the process, and removes keys that are hidden.
func (i *issuer) pass(w http.ResponseWriter, r *http.Request, hidden []string) {
	res, err := http.Get(i.behind + r.URL.Path[len("/"+tenantID+"/v2.0"):])
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer res.Body.Close()
	var about map[string]any
	if err := json.NewDecoder(res.Body).Decode(&about); err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	if list, ok := about["keys"].([]any); ok {
		about["keys"] = slices.DeleteFunc(list, func(k any) bool { return slices.Contains(hidden, k.(map[string]any)["kid"].(string)) })
	}
	_ = json.NewEncoder(w).Encode(about)
}

// trusting is a setup whose callers prove themselves by this issuer's tokens,
// or by a key.
func (i *issuer) trusting() setup {
	return setup{
		document: map[string]any{"consumers": []map[string]any{
			{"name": "app-team", "entra": map[string]any{"appId": appID}},
			{"name": "group-team", "entra": map[string]any{"group": groupID}},
			{"name": "role-team", "entra": map[string]any{"role": roleName}},
			{"name": "key-team", "keySetting": "TEAM_KEY"},
		}},
		env: []string{
			"SPILLWAY_AUTH=key,entra", "TEAM_KEY=" + teamKey, "SPILLWAY_ENTRA_TENANT=" + tenantID,
			"SPILLWAY_ENTRA_AUDIENCE=api://" + resourceID, "SPILLWAY_ENTRA_ISSUER=" + i.url + "," + v1Issuer,
		},
	}
}

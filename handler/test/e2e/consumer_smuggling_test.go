package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// rawCase is bytes as no client library would send them.
type rawCase struct {
	text   string // what is sent; @KEY is a good key, @LEN and @BODY a good body
	served int    // completions that may come of it, at most
	silent bool   // it leaves its reader waiting for more
}

const (
	rawHead = "POST /openai/v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
	rawKey  = "api-key: @KEY\r\n"
	rawTail = "Content-Length: @LEN\r\n\r\n@BODY"
	// rawHidden is a request without a key, in the place where a body would be.
	rawHidden = rawHead + "X-Hidden: yes\r\n" + rawTail
	rawChunk  = "@HEX\r\n@BODY\r\n0\r\n\r\n"
	rawEnd    = "GET /health/live HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"
)

func rawBytes(text string) string {
	return strings.NewReplacer("@KEY", teamKey, "@LEN", fmt.Sprint(len(hello)), "@HEX", fmt.Sprintf("%x", len(hello)), "@BODY", hello).Replace(text)
}

// smuggling are request smuggling attacks as raw bytes (docs/security.md#paths-and-names).
func smuggling() map[string]rawCase {
	all := map[string]rawCase{
		"lengths twice, the same":           {rawHead + rawKey + "Content-Length: @LEN\r\n" + rawTail, 1, false},
		"lengths twice, first shorter":      {rawHead + rawKey + "Content-Length: 4\r\n" + rawTail, 0, false},
		"lengths twice, first longer":       {rawHead + rawKey + "Content-Length: 4000\r\n" + rawTail, 0, false},
		"chunked and a length, chunks":      {rawHead + rawKey + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + rawChunk + rawHidden, 1, false},
		"chunked and a length, length":      {rawHead + rawKey + "Transfer-Encoding: chunked\r\nContent-Length: @LEN\r\n\r\n" + "0\r\n\r\n" + rawHidden, 1, false},
		"chunked twice":                     {rawHead + rawKey + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + rawChunk + rawHidden, 1, false},
		"chunked and identity":              {rawHead + rawKey + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + rawChunk, 0, false},
		"obs-fold in the key":               {rawHead + "api-key:\r\n @KEY\r\n" + rawTail, 1, false},
		"obs-fold after a key":              {rawHead + rawKey + " more\r\n" + rawTail, 0, false},
		"obs-fold that hides chunked":       {rawHead + rawKey + "X-A: b\r\n Transfer-Encoding: chunked\r\n" + rawTail, 1, false},
		"obs-fold ahead of all":             {"POST /openai/v1/chat/completions HTTP/1.1\r\n X: y\r\nHost: gateway\r\n" + rawKey + rawTail, 0, false},
		"space before the colon":            {rawHead + "api-key : @KEY\r\n" + rawTail, 0, false},
		"space before the length's colon":   {rawHead + rawKey + "Content-Length : @LEN\r\n\r\n@BODY", 0, false},
		"no colon":                          {rawHead + rawKey + "X-Nothing\r\n" + rawTail, 0, false},
		"no name":                           {rawHead + rawKey + ": value\r\n" + rawTail, 0, false},
		"name with a space":                 {rawHead + "api key: @KEY\r\n" + rawTail, 0, false},
		"name with a null":                  {rawHead + "api-key\x00: @KEY\r\n" + rawTail, 0, false},
		"null in the key":                   {rawHead + "api-key: @KEY\x00\r\n" + rawTail, 0, false},
		"CR within the key":                 {rawHead + "api-key: x\rapi-key: @KEY\r\n" + rawTail, 0, false},
		"underscore and a valid key":        {rawHead + "api_key: other\r\nApi-Key: @KEY\r\n" + rawTail, 1, false},
		"underscore alone":                  {rawHead + "api_key: @KEY\r\n" + rawTail, 0, false},
		"key twice, the same":               {rawHead + rawKey + rawKey + rawTail, 0, false},
		"key twice, good one first":         {rawHead + rawKey + "API-KEY: other\r\n" + rawTail, 0, false},
		"key twice, good one last":          {rawHead + "API-KEY: other\r\n" + rawKey + rawTail, 0, false},
		"two Authorizations":                {rawHead + "Authorization: Bearer other\r\nAuthorization: Bearer @KEY\r\n" + rawTail, 0, false},
		"two Authorizations in one":         {rawHead + "Authorization: Bearer @KEY, Bearer other\r\n" + rawTail, 0, false},
		"key in the trailer":                {rawHead + "Trailer: api-key\r\nTransfer-Encoding: chunked\r\n\r\n@HEX\r\n@BODY\r\n0\r\napi-key: @KEY\r\n\r\n", 0, false},
		"good key, another in the trailer":  {rawHead + rawKey + "Transfer-Encoding: chunked\r\n\r\n@HEX\r\n@BODY\r\n0\r\napi-key: other\r\n\r\n", 1, false},
		"Connection takes the key away":     {rawHead + rawKey + "Connection: keep-alive, api-key, authorization, content-length, host\r\n" + rawTail, 1, false},
		"Connection names all, twice":       {rawHead + rawKey + "Connection: API-KEY\r\nConnection:  api-key ,x-consumer\r\n" + rawTail, 1, false},
		"Keep-Alive and Proxy-Connection":   {rawHead + rawKey + "Proxy-Connection: api-key\r\nKeep-Alive: timeout=1\r\nTE: trailers\r\n" + rawTail, 1, false},
		"upgrade to h2c":                    {rawHead + rawKey + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n" + rawTail, 1, false},
		"upgrade to websocket":              {rawHead + rawKey + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" + rawTail, 1, false},
		"absolute URI elsewhere":            {strings.Replace(rawHead, "POST /", "POST http://169.254.169.254/", 1) + rawKey + rawTail, 1, false},
		"absolute URI with a user":          {strings.Replace(rawHead, "POST /", "POST http://@KEY@evil/", 1) + rawTail, 0, false},
		"Host elsewhere":                    {strings.Replace(rawHead, "gateway", "169.254.169.254", 1) + rawKey + rawTail, 1, false},
		"Host with a path":                  {strings.Replace(rawHead, "gateway", "a/?x#y", 1) + rawKey + rawTail, 1, false},
		"two Hosts":                         {rawHead + "Host: other\r\n" + rawKey + rawTail, 0, false},
		"no Host":                           {strings.Replace(rawHead, "Host: gateway\r\n", "", 1) + rawKey + rawTail, 0, false},
		"null in the path":                  {strings.Replace(rawHead, "completions", "completions%00", 1) + rawKey + rawTail, 0, false},
		"line end in the path":              {strings.Replace(rawHead, "completions", "completions%0d%0aapi-key:%20@KEY", 1) + rawTail, 0, false},
		"raw line end in the target":        {strings.Replace(rawHead, "completions HTTP", "completions\r\napi-key: @KEY HTTP", 1) + rawTail, 0, false},
		"space in the target":               {strings.Replace(rawHead, "completions HTTP", "completions x HTTP", 1) + rawKey + rawTail, 0, false},
		"slash encoded before the route":    {strings.Replace(rawHead, "/openai/v1", "%2fopenai%2fv1", 1) + rawKey + rawTail, 0, false},
		"slashes encoded within":            {strings.Replace(rawHead, "/v1/chat/completions", "/v1%2fchat%2fcompletions", 1) + rawKey + rawTail, 0, false},
		"slash encoded in the model":        {strings.Replace(rawHead, "/v1/chat", "/deployments/gpt-4o%2f..%2fother/chat", 1) + rawKey + rawTail, 0, false},
		"dots encoded":                      {strings.Replace(rawHead, "/v1/", "/deployments/%2e%2e/%2e%2e/", 1) + rawKey + rawTail, 0, false},
		"dots encoded twice":                {strings.Replace(rawHead, "/v1/", "/deployments/%25%32%65%25%32%65/", 1) + rawKey + rawTail, 0, false},
		"HTTP/1.0 with chunks":              {strings.Replace(rawHead, "HTTP/1.1", "HTTP/1.0", 1) + rawKey + "Transfer-Encoding: chunked\r\n\r\n" + rawChunk, 1, false},
		"HTTP/2 said in one line":           {strings.Replace(rawHead, "HTTP/1.1", "HTTP/2.0", 1) + rawKey + rawTail, 0, false},
		"HTTP/2 preface":                    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + rawHead + rawKey + rawTail, 0, false},
		"no version":                        {"POST /openai/v1/chat/completions\r\n" + rawKey + rawTail, 0, false},
		"CONNECT":                           {"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: gateway\r\n" + rawKey + "\r\n", 0, false},
		"TRACE":                             {"TRACE /openai/v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n" + rawKey + "\r\n", 0, false},
		"method of two lines":               {"PO\r\nST /openai/v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n" + rawKey + rawTail, 0, false},
		"GET with a hidden request as body": {"GET /health/live HTTP/1.1\r\nHost: gateway\r\nContent-Length: @LEN\r\n\r\n@BODY" + rawHidden, 0, false},
		"GET with an undeclared body":       {"GET /health/live HTTP/1.1\r\nHost: gateway\r\n\r\n" + rawHidden, 0, false},
		"expectation of nonsense":           {rawHead + rawKey + "Expect: 200-ok\r\n" + rawTail, 0, false},
		"body longer than said":             {rawHead + rawKey + "Content-Length: 4\r\n\r\n@BODY", 0, false},
		"body shorter than said":            {rawHead + rawKey + "Content-Length: 4000\r\n\r\n@BODY", 0, true},
		"two requests, one key":             {rawHead + rawKey + rawTail + rawHead + rawTail, 1, false},
		"two requests, the key last":        {rawHead + rawTail + rawHead + rawKey + rawTail, 1, false},
		"header of a megabyte":              {rawHead + rawKey + "X-Long: " + strings.Repeat("a", 1<<20+1<<13) + "\r\n" + rawTail, 0, false},
		"bare LFs":                          {strings.ReplaceAll(rawHead+rawKey, "\r\n", "\n") + "Content-Length: @LEN\n\n@BODY", 1, false},
		"bare LF hides a header":            {rawHead + "X-A: b\napi-key: @KEY\r\n" + rawTail, 1, false},
	}
	for name, length := range map[string]string{"a sign": "+@LEN", "minus": "-1", "hex": "0x5", "a list": "5, 5", "two words": "5 5", "nothing": "", "a fraction": "5.0", "too much": "99999999999999999999", "an underscore": "1_0"} {
		all["length with "+name] = rawCase{rawHead + rawKey + "Content-Length: " + length + "\r\n\r\n@BODY" + rawHidden, 0, false}
	}
	for name, coding := range map[string]string{"xchunked": "xchunked", "a list": "gzip, chunked", "a list, turned": "chunked, identity", "identity": "identity", "a semicolon": "chunked;q=1", "a null": "chunked\x00", "quotes": `"chunked"`, "a tab before": "\x0bchunked"} {
		all["coding with "+name] = rawCase{rawHead + rawKey + "Transfer-Encoding: " + coding + "\r\nContent-Length: @LEN\r\n\r\n@BODY" + rawHidden, 0, false}
	}
	for name, chunks := range map[string]string{"a minus": "-5", "an overflow": "FFFFFFFFFFFFFFFFF", "no number": "zz", "hex twice": "0x5", "a null": "5\x00", "a sign": "+5"} {
		all["chunk with "+name] = rawCase{rawHead + rawKey + "Transfer-Encoding: chunked\r\n\r\n" + chunks + "\r\n@BODY\r\n0\r\n\r\n" + rawHidden, 0, false}
	}
	return all
}

// sendRaw sends bytes and reads all answers: how many completions came, and
// what statuses.
func sendRaw(t *testing.T, address string, c rawCase) (completions int, statuses []int) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	patience := 10 * time.Second
	if c.silent {
		patience = 300 * time.Millisecond
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	go func() { _, _ = io.WriteString(conn, rawBytes(c.text+rawEnd)) }() // who is refused midway is cut off
	in := bufio.NewReader(conn)
	for {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && !c.silent {
				t.Errorf("no end of the answers after %v", statuses)
			}
			return completions, statuses
		}
		body, _ := io.ReadAll(res.Body)
		statuses = append(statuses, res.StatusCode)
		if strings.Contains(string(body), `"chat.completion"`) {
			completions++
		}
		if strings.Contains(string(body), teamKey) {
			t.Errorf("an answer holds the key: %s", body)
		}
	}
}

// Requests that two readers would cut up differently are refused, or are one
// request to everybody. Seen through the host, and by the handler itself.
func TestRequestSmuggling(t *testing.T) {
	t.Parallel()
	r := start(t, keyed())
	a := r.post(chatPath, hello, "api-key", teamKey)
	if a.status != http.StatusOK {
		t.Fatal(a.body)
	}
	pid, served := r.host.HandlerPID(), 0
	for _, at := range []struct{ name, address string }{{"host", r.host.URL}, {"handler", r.host.HandlerURL()}} {
		for name, c := range smuggling() {
			t.Run(at.name+"/"+name, func(t *testing.T) {
				before := len(r.sim.Journal())
				completions, statuses := sendRaw(t, strings.TrimPrefix(at.address, "http://"), c)
				seen := r.sim.Journal()[before:]
				served += completions
				if completions > c.served || len(seen) != completions {
					t.Errorf("answers %v: %d completions, %d requests at backends, want %d at most", statuses, completions, len(seen), c.served)
				}
				for _, e := range seen {
					if string(e.Body) != hello || e.Header.Get("X-Hidden") != "" || !strings.HasPrefix(e.Host, "127.0.0.1") || len(e.Header["Api-Key"]) != 1 || e.Header.Get("Api-Key") != backendKey {
						t.Errorf("a backend was asked as host %q, with %v: %q", e.Host, e.Header, e.Body)
					}
				}
				r.wantVictimUnharmed(t, at.address)
			})
		}
	}
	if r.host.HandlerPID() != pid {
		t.Error("the handler was restarted")
	}
	if served < 20 {
		t.Errorf("only %d of the harmless ones were served: what is refused for another reason proves nothing", served)
	}
}

// wantVictimUnharmed checks that the next caller, on whatever connection, gets
// the answer to its own request.
func (r *rig) wantVictimUnharmed(t *testing.T, address string) {
	t.Helper()
	before := len(r.sim.Journal())
	mine := strings.Replace(hello, "Hello", "I am somebody else", 1)
	a := ask(t.Context(), t, http.MethodPost, address+chatPath, mine, "api-key", teamKey)
	seen := r.sim.Journal()[before:]
	others := slices.ContainsFunc(seen, func(e simulator.Entry) bool { return string(e.Body) != mine }) // one that is slow is hedged
	if a.status != http.StatusOK || len(seen) == 0 || others {
		t.Errorf("the next caller: %d, %d requests at backends", a.status, len(seen))
	}
	if b := ask(t.Context(), t, http.MethodPost, address+chatPath, mine); b.status != http.StatusUnauthorized {
		t.Errorf("the next one without a key: %d", b.status)
	}
}

package simulator_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

func TestJournalHoldsTheRequestAsItCame(t *testing.T) {
	s := simulator.Start(t, pool())
	raw := "POST " + chatPath + "&x=%2F HTTP/1.1\r\nHost: h\r\nApi-Key: key-payg\r\nX-Two: 1\r\nX-Two: 2\r\nTE: trailers\r\nKeep-Alive: 5\r\n" +
		"Connection: keep-alive, X-Two\r\nTransfer-Encoding: chunked\r\n\r\n" +
		fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hello), hello)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL("payg"), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
		t.Fatal(err)
	}
	e := s.JournalOf("payg")[0]
	sum := sha256.Sum256([]byte(hello))
	if e.Method != "POST" || e.RawQuery != "api-version=2024-10-21&x=%2F" || e.Host != "h" || string(e.Body) != hello || e.BodySHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("got %+v", e)
	}
	for name, want := range map[string][]string{
		"X-Two": {"1", "2"}, "Te": {"trailers"}, "Keep-Alive": {"5"}, "Connection": {"keep-alive, X-Two"}, "Transfer-Encoding": {"chunked"},
	} {
		if got := e.Header[name]; !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestJournalKeepsTheLastAndCountsAll(t *testing.T) {
	cfg := pool()
	cfg.Journal = 3
	s := simulator.Start(t, cfg)
	for range 10 {
		post(t, s, "payg", chatPath, hello)
	}
	got := s.Journal()
	if len(got) != 3 || got[0].Seq != 8 || got[2].Seq != 10 {
		t.Errorf("got %d entries", len(got))
	}
	counts := s.Counts()
	if len(counts) != 1 || counts[0].Requests != 10 || counts[0].Outcomes[simulator.Served] != 10 || counts[0].Statuses[200] != 10 || counts[0].CompletionTokens != 160 {
		t.Errorf("got %+v", counts)
	}
}

func TestJournalOfCountersOnlyKeepsNothing(t *testing.T) {
	cfg := pool()
	cfg.Journal = -1
	s := simulator.Start(t, cfg)
	post(t, s, "payg", chatPath, hello)
	if len(s.Journal()) != 0 || s.Counts()[0].Requests != 1 {
		t.Errorf("got %d entries, %+v", len(s.Journal()), s.Counts())
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	s := simulator.Start(t, pool())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.WaitDisconnect(ctx, "payg"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestWaitArrivalCountsRequestsUnderWay(t *testing.T) {
	s := simulator.Start(t, pool())
	s.Fault("payg", simulator.Fault{Action: "hang-before-headers"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan struct{}, 2)
	for range 2 {
		go func() {
			_, _ = do(ctx, s, "payg", chatPath, hello)
			ended <- struct{}{}
		}()
	}
	if e, err := s.WaitArrival(ctx, "payg", 2); err != nil || e.Resource != "payg" {
		t.Errorf("got %+v, %v", e, err)
	}
	cancel()
	<-ended
	<-ended
}

func TestRefusedCallerNeedNotSendTheBody(t *testing.T) {
	s := simulator.Start(t, pool())
	for _, tt := range []struct{ key, want string }{{"wrong", "HTTP/1.1 401 "}, {"key-payg", "HTTP/1.1 100 "}} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL("payg"), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: h\r\nApi-Key: %s\r\nExpect: 100-continue\r\nContent-Length: 50000000\r\n\r\n", chatPath, tt.key)
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, tt.want) {
			t.Errorf("key %s: got %q, %v", tt.key, line, err)
		}
		_ = conn.Close()
	}
}

func TestBodiesOfTensOfMegabytesAreTaken(t *testing.T) {
	body := `{"messages":[{"role":"user","content":"` + string(bytes.Repeat([]byte("word"), 5<<20)) + `"}]}`
	s := simulator.Start(t, pool())
	r := post(t, s, "payg", chatPath, body)
	if c := complete(t, r); c.Usage.Prompt != 5<<20 {
		t.Errorf("got %d prompt tokens", c.Usage.Prompt)
	}
	cfg := pool()
	cfg.MaxBody = 1 << 20
	s = simulator.Start(t, cfg)
	if r := post(t, s, "payg", chatPath, body[:2<<20]); r.status != 413 {
		t.Errorf("over the limit: got %d, want 413", r.status)
	}
}

func TestMalformedBodiesAreRefused(t *testing.T) {
	s := simulator.Start(t, pool())
	for _, body := range []string{`{`, `{"messages":5}`, `{}`, `{"messages":[]}`, `[]`} {
		if r := post(t, s, "payg", chatPath, body); r.status != 400 || !strings.Contains(r.body, `"type":"invalid_request_error"`) {
			t.Errorf("%s: got %d %s", body, r.status, r.body)
		}
	}
}

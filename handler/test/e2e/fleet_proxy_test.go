package e2e_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tableProxy is the road between one process and the table: a proxy that passes
// everything on, writes down what passed, and can lose, delay, spoil, refuse
// or swallow it.
type tableProxy struct {
	t          *testing.T
	seen       *tableHistory
	member     int
	upstream   string // the table's own address
	table      string // the table's "host:port"
	address    string // ours
	transport  *http.Transport
	faults     atomic.Pointer[tableFaults]
	swallowing atomic.Bool // requests are never answered
	struck     [fates]atomic.Int64
	wrote      atomic.Int64 // when the table had taken the last write, Unix nanoseconds

	mu     sync.Mutex
	server *http.Server // nil while connections are refused
}

var tableEndpoint = regexp.MustCompile(`TableEndpoint=http://([^/]+)/`)

// openTableProxy starts a proxy without faults to the table of the connection
// string, until the test ends.
func openTableProxy(t *testing.T, seen *tableHistory, member int, connection string) *tableProxy {
	t.Helper()
	w := &tableProxy{
		t: t, seen: seen, member: member, upstream: connection, table: tableEndpoint.FindStringSubmatch(connection)[1], address: freeAddress(t), // and there again after refuse
		transport: &http.Transport{IdleConnTimeout: 3 * time.Second, MaxIdleConnsPerHost: 16},
	}
	w.set(tableFaults{})
	w.accept()
	t.Cleanup(func() {
		w.refuse()
		w.transport.CloseIdleConnections()
	})
	return w
}

func (w *tableProxy) set(f tableFaults) { w.faults.Store(&f) }

// connection is the connection string of a table behind this proxy.
func (w *tableProxy) connection() string {
	return tableEndpoint.ReplaceAllString(w.upstream, "TableEndpoint=http://"+w.address+"/")
}

// accept listens, again if need be, where it always did.
func (w *tableProxy) accept() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := net.Listen("tcp", w.address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.address = l.Addr().String()
	w.server = &http.Server{Handler: w}
	go func(s *http.Server) { _ = s.Serve(l) }(w.server)
}

// refuse cuts all connections and takes no new ones.
func (w *tableProxy) refuse() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.server != nil {
		_ = w.server.Close()
		w.server = nil
	}
}

func (w *tableProxy) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	e := &exchange{member: w.member, method: r.Method, url: r.URL.String(), asked: body, asking: r.Context()}
	w.seen.began(e)
	if w.swallowing.Load() {
		<-e.asking.Done()
		panic(http.ErrAbortHandler)
	}
	f := w.faults.Load().draw(e.write())
	w.struck[f].Add(1)
	w.meet(f, e, rw, r)
}

// meet does as fate will.
func (w *tableProxy) meet(f faultAction, e *exchange, rw http.ResponseWriter, r *http.Request) {
	if f == fateLost {
		cut(rw)
	}
	if f == fateBusy {
		azureError(rw, http.StatusServiceUnavailable, "ServerBusy")
		return
	}
	if f == fateForbidden {
		azureError(rw, http.StatusForbidden, "AuthorizationPermissionMismatch")
		return
	}
	if f == fateDelay {
		time.Sleep(rand.N(800 * time.Millisecond))
	}
	if f == fateLate {
		time.Sleep(time.Second + rand.N(2*time.Second))
	}
	res, err := w.pass(e, r)
	if err != nil || f == fateAnswer || f == fateLate {
		cut(rw)
	}
	if f == fateConflict {
		azureError(rw, http.StatusPreconditionFailed, "UpdateConditionNotSatisfied")
		return
	}
	w.answer(f, e, res, rw)
}

// answer forwards the table's reply.
func (w *tableProxy) answer(f faultAction, e *exchange, res *reply, rw http.ResponseWriter) {
	maps.Copy(rw.Header(), res.header)
	rw.WriteHeader(res.status)
	if f == fateTorn && len(res.body) > 1 {
		_, _ = rw.Write(res.body[:len(res.body)/2])
		_ = http.NewResponseController(rw).Flush()
		cut(rw)
	}
	_, _ = rw.Write(res.body)
	if http.NewResponseController(rw).Flush() == nil && e.asking.Err() == nil {
		w.seen.answered(e, res)
	}
}

// reply is the table's answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// pass forwards a request to the table, even when its sender has gone.
func (w *tableProxy) pass(e *exchange, r *http.Request) (*reply, error) {
	u, err := url.Parse("http://" + w.table + r.RequestURI)
	if err != nil {
		return nil, err
	}
	out, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, u.String(), bytes.NewReader(e.asked))
	if err != nil {
		return nil, err
	}
	out.Header = r.Header.Clone()
	res, err := w.transport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if e.write() && res.StatusCode < 300 {
		w.wrote.Store(time.Now().UnixNano())
	}
	w.seen.done(e, res.StatusCode)
	return &reply{res.StatusCode, res.Header, text}, err
}

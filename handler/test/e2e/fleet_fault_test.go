package e2e_test

import (
	"io"
	"math/rand/v2"
	"net"
	"net/http"
)

// tableFaults are how often each kind of fault happens, as a probability, for
// each exchange. The zero value never happens.
type tableFaults struct {
	lost     float64 // never arrives; the connection is cut
	answer   float64 // is done, and the connection is cut ahead of the answer
	torn     float64 // is done, and the connection is cut in the midst of the answer
	conflict float64 // a write is done and answered 412
	busy     float64 // 503 ServerBusy
	delay    float64 // takes up to 800 ms longer
	late     float64 // a write is done up to 3 s after its writer gave it up
	readOnly bool    // a write is answered 403
}

// defaultFaults are those that the protocol was measured with
// (docs/shared-state.md#what-the-table-does), and two more of which HTTP is capable.
func defaultFaults() tableFaults {
	return tableFaults{lost: .02, answer: .04, torn: .01, conflict: .05, busy: .02, delay: .05, late: .02}
}

// faultAction is what becomes of one exchange.
type faultAction int

const (
	passed faultAction = iota
	fateLost
	fateAnswer
	fateTorn
	fateConflict
	fateBusy
	fateDelay
	fateLate
	fateForbidden
	fates
)

// draw picks one. Only writes are in conflict or late.
func (f *tableFaults) draw(write bool) faultAction {
	if f.readOnly && write {
		return fateForbidden
	}
	dice := rand.Float64()
	for i, p := range []float64{f.lost, f.answer, f.torn, f.conflict, f.busy, f.delay, f.late} {
		if dice -= p; dice < 0 {
			if is := faultAction(i + 1); write || is != fateConflict && is != fateLate {
				return is
			}
			return passed
		}
	}
	return passed
}

// cut ends the connection, every second time with a reset, and the handling of
// the exchange with it.
func cut(rw http.ResponseWriter) {
	conn, _, err := http.NewResponseController(rw).Hijack()
	if err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok && rand.IntN(2) == 0 {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

func azureError(rw http.ResponseWriter, status int, code string) {
	rw.Header().Set("Content-Type", "application/json;odata=minimalmetadata")
	rw.WriteHeader(status)
	_, _ = io.WriteString(rw, `{"odata.error":{"code":"`+code+`","message":{"lang":"en-US","value":"injected"}}}`)
}

package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// How often an address may send a wrong key: as often as a person mistypes one, and
// no more than a few million years of guessing need.
const (
	attemptBurst    = 10              // wrong keys in a row
	attemptInterval = 6 * time.Second // after that, one in this time
	maxAddresses    = 4096            // that are known at once
	refusalInterval = time.Minute     // between two reports of refused keys
)

// attempts counts wrong keys by address, and reports them.
type attempts struct {
	report func(n uint64, address string) // nil = they are counted only

	mu        sync.Mutex
	byAddress map[string]time.Time // when an address will have all its attempts back
	refused   uint64
	pending   uint64 // refused since the last report
	address   string // of the latest
	waiting   bool   // a report is due in refusalInterval at most
}

// retryAfter is how long the address must wait before a key of it is looked at; 0 =
// it need not.
func (a *attempts) retryAfter(address string, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	free := now.Add((attemptBurst - 1) * attemptInterval) // so many attempts leave one
	return max(a.byAddress[address].Sub(free), 0)
}

// refuse counts a wrong key, or one that was not looked at.
func (a *attempts) refuse(address string, now time.Time, wrong bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused++
	a.pending++
	a.address = address
	if wrong {
		a.charge(address, now)
	}
	if !a.waiting && a.report != nil {
		a.waiting = true
		a.flush()
		time.AfterFunc(refusalInterval, a.flushLater)
	}
}

// charge takes one attempt from the address. The caller holds mu.
func (a *attempts) charge(address string, now time.Time) {
	if a.byAddress == nil {
		a.byAddress = map[string]time.Time{}
	}
	if len(a.byAddress) >= maxAddresses {
		for known, full := range a.byAddress {
			if len(a.byAddress) >= maxAddresses || full.Before(now) {
				delete(a.byAddress, known)
			}
		}
	}
	full := a.byAddress[address]
	if full.Before(now) {
		full = now
	}
	a.byAddress[address] = full.Add(attemptInterval)
}

// flush reports what was refused since the last report. The caller holds mu.
func (a *attempts) flush() {
	n, address := a.pending, a.address
	a.pending = 0
	go a.report(n, address)
}

// flushLater ends the interval after a report, with another one if there is
// something to report.
func (a *attempts) flushLater() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pending == 0 {
		a.waiting = false
		return
	}
	a.flush()
	time.AfterFunc(refusalInterval, a.flushLater)
}

func (a *attempts) count() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused
}

// clientAddress is the address that a request comes from. Behind the Functions
// host that is what the host writes over X-Forwarded-For: every connection is its
// own. Anywhere else a caller could write that header itself.
func clientAddress(r *http.Request, hosted bool) string {
	if hosted {
		all := r.Header.Values("X-Forwarded-For")
		if len(all) > 0 {
			last := all[len(all)-1]
			return withoutPort(strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:]))
		}
	}
	return withoutPort(r.RemoteAddr)
}

func withoutPort(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	ip, err := netip.ParseAddr(strings.Trim(address, "[]"))
	if err != nil {
		return "unknown"
	}
	return ip.Unmap().WithZone("").String()
}

// sameCaller is the addresses that one caller can choose from: of IPv6 a whole
// network.
func sameCaller(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Is4() {
		return address
	}
	network, err := ip.Prefix(64)
	if err != nil {
		return address
	}
	return network.String()
}

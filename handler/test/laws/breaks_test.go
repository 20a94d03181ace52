package laws_test

import (
	"errors"
	"time"
)

// breakingBackend: where a tenth of the answers break off after their first content,
// each backend keeps its share. One all of whose answers do is left by every instance
// as soon as it has seen enough itself, although new answers begin all the time.
func breakingBackend(w *world) error {
	w.pass(w.long(200, 2*time.Second))
	w.streams = 2 * time.Second
	for _, b := range w.deployed {
		b.breaks, b.sends = .1, nil
	}
	calls := w.pass(w.long(400, 12*time.Second))
	err := w.keepsShare(.1, len(calls))
	w.streams = 80 * time.Millisecond
	for _, b := range w.deployed {
		b.breaks, b.sends = 0, nil
	}
	w.deployed[0].breaks = 1
	calls = w.pass(w.long(2000, 5*time.Second))
	toIt := w.rate / float64(len(w.deployed)) * (w.streams + w.answers).Seconds()
	sent := w.deployed[0].ordinarySends()
	w.drain()
	return errors.Join(err, noneRefused(calls), limit("sent to a backend whose answers break off", sent, w.size*(2*failures+atMost(2*toIt)))) // twice: the first trip is short, since most of the window was served
}

// ordinarySends counts the attempts that were made because the circuit was closed.
func (b *backend) ordinarySends() (n int) {
	for i := range b.sends {
		if b.sends[i].ordinary() {
			n++
		}
	}
	return n
}

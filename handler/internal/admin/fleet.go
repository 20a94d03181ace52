package admin

import (
	"context"
	"sync"
	"time"

	"spillway/handler/internal/fleet"
)

// fleetEvery is how often the whole fleet is read at most, however many look.
const fleetEvery = 2 * time.Second

// fleetPatience is how long one such reading may take.
const fleetPatience = 10 * time.Second

// fleetReader is the latest reading of what the table says of everything.
type fleetReader struct {
	keeper Keeper
	now    func() time.Time
	asked  chan struct{}

	mu   sync.Mutex
	last fleet.Fleet
	read time.Time // when last was read; zero = never
	err  error     // of the latest reading
}

func newFleet(k Keeper, now func() time.Time) fleetReader {
	return fleetReader{keeper: k, now: now, asked: make(chan struct{}, 1)}
}

// ask notes that somebody looks. It never waits.
func (f *fleetReader) ask() {
	select {
	case f.asked <- struct{}{}:
	default:
	}
}

// look is the latest reading, the instant it is of, and what the latest try
// failed with.
func (f *fleetReader) look() (fleet.Fleet, time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, f.read, f.err
}

func (f *fleetReader) run(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-f.asked:
		}
		f.refresh(ctx)
		pause.Reset(fleetEvery)
	}
}

func (f *fleetReader) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, fleetPatience)
	defer cancel()
	latest, err := f.keeper.Fleet(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	if err == nil {
		f.last, f.read = latest, f.now()
	}
}

package telemetry

import "spillway/handler/internal/api"

// Observers tells several of each request, in order.
type Observers []api.Observer

// RequestDone tells all of them.
func (w Observers) RequestDone(x *api.RequestRecord) {
	for _, observer := range w {
		observer.RequestDone(x)
	}
}

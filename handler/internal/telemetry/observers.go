package telemetry

import "spillway/handler/internal/api"

// Observers tells several of each request, in order.
type Observers []api.Watcher

// Saw tells all of them.
func (w Observers) Saw(x *api.Exchange) {
	for _, observer := range w {
		observer.Saw(x)
	}
}

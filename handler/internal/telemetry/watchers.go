package telemetry

import "spillway/handler/internal/api"

// Watchers tells several of each request, in order.
type Watchers []api.Watcher

// Saw tells all of them.
func (w Watchers) Saw(x *api.Exchange) {
	for _, one := range w {
		one.Saw(x)
	}
}

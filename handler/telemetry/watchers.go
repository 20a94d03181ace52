package telemetry

import "spillway/handler/server"

// Watchers tells several of each request, in order.
type Watchers []server.Watcher

// Saw tells all of them.
func (w Watchers) Saw(x *server.Exchange) {
	for _, one := range w {
		one.Saw(x)
	}
}

package quota

import (
	"context"
	"slices"
)

// Fallback also reserves what the request may use of the limits for the model alone
// that is to serve it instead of the demanded one. It returns false when one of them
// has not enough left; then nothing is. It may wait for the table, as
// [Limiter.Reserve] does. A nil Reservation needs nothing.
func (r *Reservation) Fallback(ctx context.Context, d *Demand) bool {
	if r == nil || r.has(r.consumer.byModel[d.Model]) {
		return true
	}
	own := &Reservation{limiter: r.limiter, consumer: &consumerLimits{byModel: r.consumer.byModel}, model: d.Model}
	if own.reserveAll(ctx, d) != nil {
		own.Refund()
		return false
	}
	for _, a := range own.allocations {
		r.add(a)
	}
	return true
}

// has reports whether something is reserved of these limits, if there are any.
func (r *Reservation) has(limits []*limitState) bool {
	return len(limits) == 0 || slices.ContainsFunc(r.allocations, func(a allocation) bool { return a.limit == limits[0] })
}

// othersOf is the limits of models that served and of which nothing was reserved.
func (r *Reservation) othersOf(used []Usage) (others []allocation) {
	for i := range used {
		same := func(u Usage) bool { return u.Model == used[i].Model }
		of := r.consumer.byModel[used[i].Model]
		if r.has(of) || slices.ContainsFunc(used[:i], same) {
			continue
		}
		for _, e := range of {
			others = append(others, allocation{limit: e, window: e.currentWindow(r.limiter)})
		}
	}
	return others
}

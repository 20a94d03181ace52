package lease

// offlineShare is what an instance spends while the table is out of reach.
type offlineShare struct {
	share int64 // what this window grants it; 0 = not drawn yet, negative = nothing
	spent int64
}

// spendOffline answers without the table: each instance may spend its even part of
// what was last known to be left, or of a whole window when nothing is known
// of this one; of a month, of a hundredth of it. When the part is smaller than
// a request, that many instances are drawn which may serve one.
func (a *Account) spendOffline(n int64, m Moment) Decision {
	if a.offline.share == 0 {
		a.offline.share = a.drawShare(m)
	}
	if addSaturating(a.offline.spent, n-a.credit) > a.offline.share {
		return Denied
	}
	a.offline.spent = addSaturating(a.offline.spent, n-a.credit)
	a.unbooked = addSaturating(a.unbooked, n-a.credit)
	a.credit = 0
	a.demand.markUnbooked(m.At)
	return Granted
}

func (a *Account) drawShare(m Moment) int64 {
	left := a.Config.Limit
	if a.view.known && !a.view.estimated && a.view.window == a.window {
		left = max(0, addSaturating(mulSaturating(a.view.left, int64(a.shards())), -max(0, a.unbooked)))
	}
	if a.Config.Period == Month {
		left = min(left, a.Config.Limit/100)
	}
	share := left / int64(max(m.Instances, a.instances(m)*a.shards()))
	if share >= a.demand.largest {
		return share
	}
	chance := float64(share) / float64(max(1, a.demand.largest))
	if fraction(a.Jitter+float64(a.window%1000)*0.6180339887) < chance {
		return a.demand.largest
	}
	return -1 // drawn, and nothing
}

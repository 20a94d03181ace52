package lease

// lone is what an instance spends while the table is out of reach.
type lone struct {
	share int64 // what this window grants it; 0 = not drawn yet, negative = nothing
	spent int64
}

// alone answers without the table: each instance may spend its even part of
// what was last known to be left, or of a whole window when nothing is known
// of this one; of a month, of a hundredth of it. When the part is smaller than
// a request, that many instances are drawn which may serve one.
func (a *Account) alone(n int64, m Moment) Answer {
	if a.lone.share == 0 {
		a.lone.share = a.draw(m)
	}
	if plus(a.lone.spent, n-a.credit) > a.lone.share {
		return No
	}
	a.lone.spent = plus(a.lone.spent, n-a.credit)
	a.owed = plus(a.owed, n-a.credit)
	a.credit = 0
	a.demand.owedSince(m.At)
	return Yes
}

func (a *Account) draw(m Moment) int64 {
	left := a.Terms.Limit
	if a.view.known && !a.view.guess && a.view.window == a.window {
		left = max(0, plus(times(a.view.left, int64(a.shards())), -max(0, a.owed)))
	}
	if a.Terms.Period == Month {
		left = min(left, a.Terms.Limit/100)
	}
	share := left / int64(max(m.Fleet, a.fleet(m)*a.shards()))
	if share >= a.demand.most {
		return share
	}
	chance := float64(share) / float64(max(1, a.demand.most))
	if frac(a.Luck+float64(a.window%1000)*0.6180339887) < chance {
		return a.demand.most
	}
	return -1 // drawn, and nothing
}

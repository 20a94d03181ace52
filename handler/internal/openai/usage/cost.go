package usage

// perMillion is what prices are for.
const perMillion = 1e6

// Cost is the money that the tokens cost, in the price's currency. It is never
// negative, whatever a backend or a price says.
func (p Price) Cost(t Tokens) float64 {
	cached := p.CachedInput
	if cached == 0 {
		cached = p.Input
	}
	hit := min(max(t.Cached, 0), max(t.Prompt, 0))
	sum := float64(max(t.Prompt, 0)-hit)*p.Input + float64(hit)*cached + float64(max(t.Completion, 0))*p.Output
	return max(sum, 0) / perMillion
}

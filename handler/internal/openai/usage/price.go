package usage

// Price is what an answer costs, in Currency: money per million tokens, per image,
// and per second of audio. The zero Price is free; a part of the tokens whose price
// is 0 costs as much as the rest.
type Price struct {
	Currency    string
	Input       float64
	CachedInput float64 // 0: as Input
	CacheWrite  float64 // 0: as Input
	Output      float64
	Reasoning   float64 // 0: as Output
	AudioInput  float64 // 0: as Input
	AudioOutput float64 // 0: as Output
	Image       float64 // each
	AudioSecond float64 // each

	CacheWriteHour float64 // 0: as CacheWrite

	// Tiers are the prices of service tiers other than the default one, as
	// backends name them. A tier that is absent has this price.
	Tiers map[string]Price
}

// ForTier is the price of answers of this service tier.
func (p *Price) ForTier(name string) Price {
	if t, ok := p.Tiers[name]; ok {
		t.Currency = p.Currency
		return t
	}
	return *p
}

// Dearest is the price at which every token costs as much as the dearest of its kind
// may; an answer has tokens of sound only if sound is true.
func (p *Price) Dearest(sound bool) Price {
	d := *p
	d.Input, d.Output = max(p.Input, p.CachedInput, p.CacheWrite, p.CacheWriteHour, p.AudioInput), max(p.Output, p.Reasoning)
	if sound {
		d.Output = max(d.Output, p.AudioOutput)
	}
	return d
}

// Dearer is the price at which each of a token of the prompt, one of the answer, an image
// and a second costs as much as at the dearer of both.
func (p *Price) Dearer(o *Price) Price {
	d := *p
	d.Input, d.Output = max(p.Input, o.Input), max(p.Output, o.Output)
	d.Image, d.AudioSecond = max(p.Image, o.Image), max(p.AudioSecond, o.AudioSecond)
	return d
}

// perMillion is the number of tokens that a price is for.
const perMillion = 1e6

// Cost is the cost of the tokens, in the price's currency. It is never negative,
// whatever a backend reports or a price holds.
func (p *Price) Cost(t Tokens) float64 {
	hour := min(max(t.CacheWriteHour, 0), t.CacheWrite)
	if p.CacheWriteHour == 0 {
		hour = 0
	}
	prompt := cost(t.Prompt, p.Input, part{t.Cached, p.CachedInput}, part{hour, p.CacheWriteHour}, part{t.CacheWrite - hour, p.CacheWrite}, part{t.AudioInput, p.AudioInput})
	answer := cost(t.Completion, p.Output, part{t.Reasoning, p.Reasoning}, part{t.AudioOutput, p.AudioOutput})
	units := float64(max(t.Images, 0))*p.Image + float64(max(t.Seconds, 0))*p.AudioSecond
	return max((prompt+answer)/perMillion+units, 0)
}

// part is a part of some tokens with a price of its own; 0 = that of the rest.
type part struct {
	tokens int64
	price  float64
}

// cost is the cost of tokens of which these are parts, which never exceed the
// whole.
func cost(whole int64, price float64, parts ...part) float64 {
	left := max(whole, 0)
	sum := 0.0
	for _, x := range parts {
		if x.price == 0 {
			continue
		}
		n := min(max(x.tokens, 0), left)
		left -= n
		sum += float64(n) * x.price
	}
	return sum + float64(left)*price
}

package replay

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/simulator"
)

// Capacity is how much a deployment can do. The zero Capacity has no limit.
type Capacity struct {
	Units             int // provisioned throughput units
	TokensPerMinute   int // of a pay-as-you-go deployment; of a provisioned one: at which it drains, an answer's tokens as those of a prompt
	RequestsPerMinute int
}

func (c Capacity) String() string {
	var parts []string
	for _, p := range []struct {
		n    int
		unit string
	}{{c.Units, "ptu"}, {c.TokensPerMinute, "tpm"}, {c.RequestsPerMinute, "rpm"}} {
		if p.n > 0 {
			parts = append(parts, strconv.Itoa(p.n)+p.unit)
		}
	}
	if len(parts) == 0 {
		return "unlimited"
	}
	return strings.Join(parts, ",")
}

// Capacities are capacities by backend, or by "backend/model", which comes first.
type Capacities map[string]Capacity

// of is the capacity of a model at a backend.
func (c Capacities) of(b *balancer.Backend, model string) Capacity {
	if own, ok := c[b.Name+"/"+model]; ok {
		return own
	}
	return c[b.Name]
}

// unknown is a name that the pools do not have; "" = there is none.
func (c Capacities) unknown(pools []balancer.Pool) string {
	known := map[string]bool{}
	for i := range pools {
		for k := range pools[i].Backends {
			name := pools[i].Backends[k].Name
			known[name], known[name+"/"+pools[i].Model] = true, true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if !known[name] {
			return name
		}
	}
	return ""
}

// Parse adds what a text such as "ptu-uksouth=100ptu" or "payg/gpt-4o=450ktpm,2700rpm"
// says.
func (c Capacities) Parse(text string) error {
	name, amounts, ok := strings.Cut(text, "=")
	if !ok || name == "" || amounts == "" {
		return fmt.Errorf("%q names no capacity: write BACKEND=100ptu, BACKEND=450ktpm or BACKEND/MODEL=450ktpm,2700rpm", text)
	}
	var all Capacity
	for amount := range strings.SplitSeq(amounts, ",") {
		if err := all.add(amount); err != nil {
			return err
		}
	}
	if all.Units > 0 && all != (Capacity{Units: all.Units}) {
		return fmt.Errorf("%q: provisioned units have no other limit beside them", text)
	}
	c[name] = all
	return nil
}

// mostOfAny is more than any deployment has.
const mostOfAny = 1_000_000_000

func (c *Capacity) add(amount string) error {
	text := strings.ToLower(strings.TrimSpace(amount))
	for suffix, into := range map[string]*int{"ptu": &c.Units, "tpm": &c.TokensPerMinute, "rpm": &c.RequestsPerMinute} {
		number, ok := strings.CutSuffix(text, suffix)
		if !ok {
			continue
		}
		scale := 1.0
		for letter, times := range map[string]float64{"k": 1e3, "m": 1e6} {
			if shorter, ok := strings.CutSuffix(number, letter); ok {
				number, scale = shorter, times
			}
		}
		n, err := strconv.ParseFloat(number, 64)
		if n *= scale; err != nil || !(n >= 1 && n <= mostOfAny) {
			break
		}
		*into = int(n)
		return nil
	}
	return fmt.Errorf("%q is no amount: write a number and ptu, tpm or rpm, such as 100ptu, 450ktpm or 2700rpm", amount)
}

// Throughput is what one provisioned unit of a model does.
type Throughput struct {
	InputTPM int     // prompt tokens a minute
	Weight   float64 // how many of those a token of an answer counts as
	Least    int     // the smallest deployment: global and data zone
	Regional int     // the smallest regional one
}

// Throughputs are those of models.
type Throughputs map[string]Throughput

// AzureThroughputs is the table of Microsoft's documentation
// (docs/replay.md#provisioned-units).
func AzureThroughputs() Throughputs {
	return Throughputs{
		"gpt-5.2": {3400, 8, 15, 50}, "gpt-5.2-codex": {3400, 8, 15, 50}, "gpt-5.1": {4750, 8, 15, 50}, "gpt-5.1-codex": {4750, 8, 15, 50},
		"gpt-5": {4750, 8, 15, 50}, "gpt-5-mini": {23750, 8, 15, 25},
		"gpt-4.1": {3000, 4, 15, 50}, "gpt-4.1-mini": {14900, 4, 15, 25}, "gpt-4.1-nano": {59400, 4, 15, 25},
		"o3": {3000, 4, 15, 50}, "o4-mini": {5400, 4, 15, 25},
		"gpt-4o": {2500, 3, 15, 50}, "gpt-4o-mini": {37000, 3, 15, 25}, "o1": {230, 3, 15, 25},
	}
}

// Parse adds what a text such as "gpt-4o=2500x3" says: prompt tokens a minute for each
// unit, and how many of them a token of an answer counts as.
func (t Throughputs) Parse(text string) error {
	model, rest, _ := strings.Cut(text, "=")
	tokens, weight, ok := strings.Cut(rest, "x")
	n, err := strconv.Atoi(tokens)
	w, weightErr := strconv.ParseFloat(weight, 64)
	if !ok || model == "" || err != nil || weightErr != nil || n < 1 || n > mostOfAny || !(w >= 0 && w <= 1000) {
		return fmt.Errorf("%q is no throughput: write MODEL=2500x3, the prompt tokens a minute of one unit and how many of them a token of an answer counts as", text)
	}
	t[model] = Throughput{InputTPM: n, Weight: w}
	return nil
}

// limits is the deployment as the simulated service has it, and how much a token of an
// answer counts there.
func (c Capacity) limits(b *balancer.Backend, model string, units Throughputs) (simulator.Deployment, float64, error) {
	d := simulator.Deployment{Name: b.Name, Model: model, TokensPerMinute: c.TokensPerMinute, RequestsPerMinute: c.RequestsPerMinute}
	if !b.Provisioned {
		if c.Units > 0 {
			return d, 0, fmt.Errorf("%s has %d provisioned units, but its capacity is pay-as-you-go: write tpm and rpm, or set \"capacity\": \"provisioned\"", b.Name, c.Units)
		}
		return d, 1, nil
	}
	d.SKU, d.TokensPerMinute = simulator.Provisioned, 0
	switch unit, known := units[model]; {
	case c.Units > 0 && !known:
		return d, 0, fmt.Errorf("what a provisioned unit of %s does is not known: add --ptu-tokens %s=TOKENSxWEIGHT (docs/replay.md#provisioned-units)", model, model)
	case c.Units > 0:
		d.ProvisionedTokensPerMinute = min(c.Units*unit.InputTPM, mostOfAny)
		return d, unit.Weight, nil
	case c.TokensPerMinute > 0:
		d.ProvisionedTokensPerMinute = c.TokensPerMinute
		return d, 1, nil
	}
	return d, 0, fmt.Errorf("how many provisioned units %s has is not known: add --capacity %s=100ptu", b.Name, b.Name)
}

package metering

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

// arrival is one request of a simulated consumer.
type arrival struct {
	at             time.Duration
	prompt, output int64 // tokens
	bound          int64 // max_tokens; 0 = none
	lasts          time.Duration
	stream         bool
	choices        int64 // 0 = 1
}

func (a *arrival) tokens() int64 { return a.prompt + a.output }

// traffic is a Poisson process of requests whose sizes are like those of a chat
// service: the mean of an answer is a multiple of its median.
type traffic struct {
	perMinute float64 // requests
	minutes   int
	bound     int64
	stream    bool
}

func (x traffic) arrivals(seed uint64) []arrival {
	random := rand.New(rand.NewPCG(seed, 15))
	size := func(median, spread float64, most int64) int64 {
		return min(max(1, int64(median*math.Exp(spread*random.NormFloat64()))), most)
	}
	var all []arrival
	for t := 0.0; ; {
		t += -math.Log(1-random.Float64()) / x.perMinute * 60
		if t >= float64(x.minutes)*60 {
			return all
		}
		a := arrival{at: time.Duration(t * 1e9), prompt: size(1020, 0.75, 14_000), output: size(129, 0.95, 1000), bound: x.bound, stream: x.stream}
		if a.bound > 0 {
			a.output = min(a.output, a.bound)
		}
		a.lasts = 300*time.Millisecond + time.Duration(a.output)*20*time.Millisecond
		if x.stream {
			a.lasts = 5 * time.Second
		}
		all = append(all, a)
	}
}

// spending is what became of arrivals under a limit.
type spending struct {
	limit            int64
	spent            map[int]int64 // tokens by the minute in which the answer ended
	offered          map[int]int64 // by the minute of arrival
	arrived, refused map[int]int
}

func newSpending(limit int64, all []arrival) *spending {
	s := &spending{limit: limit, spent: map[int]int64{}, offered: map[int]int64{}, arrived: map[int]int{}, refused: map[int]int{}}
	for i := range all {
		s.offered[int(all[i].at/time.Minute)] += all[i].tokens()
		s.arrived[int(all[i].at/time.Minute)]++
	}
	return s
}

// figures are percentages: of the limit in the fullest minute after the first, in
// the mean, and in the first; and of the requests that were refused in minutes
// whose offers all fit.
type figures struct{ worst, mean, first, falsely float64 }

func (s *spending) figures(minutes int) (f figures) {
	share := func(m int) float64 { return 100 * float64(s.spent[m]) / float64(s.limit) }
	f.first = share(0)
	falsely, arrived := 0, 0
	for m := 1; m < minutes; m++ {
		f.worst = max(f.worst, share(m))
		f.mean += share(m) / float64(minutes-1)
		if s.offered[m] <= s.limit && s.offered[m-1] <= s.limit {
			falsely += s.refused[m]
			arrived += s.arrived[m]
		}
	}
	if arrived > 0 {
		f.falsely = 100 * float64(falsely) / float64(arrived)
	}
	return f
}

func (f figures) String() string {
	return fmt.Sprintf("first %.0f %%, worst %.1f %%, mean %.1f %%, falsely refused %.2f %%", f.first, f.worst, f.mean, f.falsely)
}

// inOnePlace admits arrivals with perfect knowledge of what is reserved and spent,
// and the same expectation.
func inOnePlace(all []arrival, limit int64) *spending {
	s := newSpending(limit, all)
	type ending struct {
		at             time.Duration
		reserved, used int64
		answer         *arrival
	}
	var under []ending
	var reserved int64
	var profile usage.Profile
	settle := func(until time.Duration) {
		slices.SortFunc(under, func(a, b ending) int { return cmp.Compare(a.at, b.at) })
		for len(under) > 0 && under[0].at <= until {
			e := under[0]
			s.spent[int(e.at/time.Minute)] += e.used
			reserved -= e.reserved
			profile.Add(usage.Sample{Tokens: usage.Tokens{Prompt: e.answer.prompt, Completion: e.answer.output}})
			under = under[1:]
		}
	}
	debt, last := int64(0), 0
	for i := range all {
		a := &all[i]
		settle(a.at)
		minute := int(a.at / time.Minute)
		for ; last < minute; last++ {
			debt = max(0, debt+s.spent[last]-limit)
		}
		e := profile.Expect()
		certain := min(1, float64(e.Answers)/certainAnswers)
		most := cmp.Or(a.bound, otherLargest)
		expected := a.prompt + int64(certain*float64(min(e.Output, most))+(1-certain)*float64(min(limit/10, most)))
		if s.spent[minute]+debt+reserved+min(expected, limit) > limit {
			s.refused[minute]++
			continue
		}
		reserved += expected
		under = append(under, ending{a.at + a.lasts, expected, a.tokens(), a})
	}
	settle(time.Hour * 1000)
	return s
}

// openFleet opens so many instances that share a table, until ctx is done.
func openFleet(ctx context.Context, running *sync.WaitGroup, table tablestore.Store, who *consumer.Consumer, instances int) (fleet []*Meter) {
	for range instances {
		l := quota.New(quota.Config{Store: table, Consumers: []*consumer.Consumer{who}, CountInstances: func(context.Context) (int, error) { return instances, nil }})
		running.Go(func() { l.Run(ctx) })
		fleet = append(fleet, New(l, nil, table))
	}
	return fleet
}

// inFleet admits the same arrivals on so many instances that share a table. It is
// called in a bubble.
func inFleet(t *testing.T, all []arrival, limit int64, instances int) *spending {
	t.Helper()
	who := &consumer.Consumer{Name: "team-a", TokensPerMinute: limit}
	pool := &balancer.Pool{Model: "other", Backends: []balancer.Backend{{Name: "a"}}}
	ctx, stop := context.WithCancel(t.Context())
	var running, answers sync.WaitGroup
	fleet := openFleet(ctx, &running, distant{new(memory.Store)}, who, instances)
	s := newSpending(limit, all)
	var mu sync.Mutex
	time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)))
	start := time.Now()
	random := rand.New(rand.NewPCG(1, 1))
	for i := range all {
		a, m := &all[i], fleet[random.IntN(instances)]
		time.Sleep(time.Until(start.Add(a.at)))
		answers.Go(func() {
			used, ok := a.run(ctx, m, who, pool)
			mu.Lock()
			defer mu.Unlock()
			if !ok {
				s.refused[int(a.at/time.Minute)]++
				return
			}
			s.spent[int(time.Since(start)/time.Minute)] += used
		})
	}
	answers.Wait()
	time.Sleep(time.Second) // the last means are shared
	stop()
	running.Wait()
	return s
}

// run makes the request at an instance, and returns what it used.
func (a *arrival) run(ctx context.Context, m *Meter, who *consumer.Consumer, pool *balancer.Pool) (int64, bool) {
	r := chat(a.stream, 4*a.prompt, a.bound)
	r.Consumer, r.Parsed.Choices = who, max(1, a.choices)
	x, err := m.Reserve(ctx, r, []*balancer.Pool{pool})
	var over *quota.ExceededError
	if errors.As(err, &over) {
		return 0, false
	}
	began := time.Now()
	for step := range int64(5) {
		time.Sleep(a.lasts / 5)
		if a.stream {
			x.Progress(4 * a.output * (step + 1) / 5)
		}
	}
	d := proxy.Delivery{Committed: true, Usage: usage.Tokens{Prompt: a.prompt, Completion: a.output}, TextBytes: 4 * a.output, FirstToken: began.Add(300 * time.Millisecond)}
	m.Settle(x, r, &proxy.Result{
		Pool: pool, ServedBy: &pool.Backends[0], Delivery: d,
		Attempts: []proxy.Attempt{{Backend: &pool.Backends[0], Start: began, Status: 200, Duration: a.lasts}},
	})
	return a.tokens(), true
}

// distant delays a table by a network exchange.
type distant struct{ tablestore.Store }

func (d distant) Get(ctx context.Context, p, k string) (tablestore.Row, tablestore.Response, error) {
	time.Sleep(time.Duration(2+rand.IntN(4)) * time.Millisecond)
	return d.Store.Get(ctx, p, k)
}

func (d distant) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	time.Sleep(time.Duration(2+rand.IntN(4)) * time.Millisecond)
	return d.Store.Put(ctx, row)
}

// meanTokens is what a request of traffic uses on average.
const meanTokens = 1560

// compare runs arrivals under a limit in one place and in a fleet.
func compare(t *testing.T, all []arrival, limit int64, instances, minutes int) (one, many figures) {
	t.Helper()
	one = inOnePlace(all, limit).figures(minutes)
	synctest.Test(t, func(t *testing.T) { many = inFleet(t, all, limit, instances).figures(minutes) })
	return one, many
}

// A limit over a fleet holds as well as one that a single place keeps, which knows
// everything and has the same expectation, whatever bound the callers write.
func TestFleetKeepsLimitsLikeOnePlace(t *testing.T) {
	const perMinute, minutes = 60, 8 // of usual requests, in the limit
	instances, loads := []int{1, 20}, []float64{0.8, 3}
	if os.Getenv("SPILLWAY_SOAK") != "" {
		instances, loads = []int{1, 5, 20}, []float64{0.5, 0.8, 1, 3, 10}
	}
	for _, load := range loads {
		for _, bound := range []int64{0, 600, 16_000} {
			for _, stream := range []bool{false, true} {
				for _, n := range instances {
					t.Run(fmt.Sprintf("load %g, max_tokens %d, stream %t, %d instances", load, bound, stream, n), func(t *testing.T) {
						all := traffic{perMinute: load * perMinute, minutes: minutes, bound: bound, stream: stream}.arrivals(7)
						one, many := compare(t, all, perMinute*meanTokens, n, minutes)
						t.Logf("one place: %v; fleet: %v", one, many)
						if many.worst > one.worst+5 || many.mean < 0.95*one.mean || many.first > 115 || many.falsely > one.falsely+0.5 {
							t.Errorf("one place: %v; fleet: %v", one, many)
						}
					})
				}
			}
		}
	}
}

// The two hours of Azure's public trace of 2023, in the files that SPILLWAY_TRACES
// names (https://github.com/Azure/AzurePublicDataset), under limits at shares of
// their own busiest minute.
func TestRealHoursOverFiveInstances(t *testing.T) {
	folder := os.Getenv("SPILLWAY_TRACES")
	if folder == "" {
		t.Skip("needs the traces: SPILLWAY_TRACES=folder")
	}
	files, _ := filepath.Glob(filepath.Join(folder, "azure-llm-2023-*.csv"))
	for _, file := range files {
		all := readTrace(t, file)
		byMinute := newSpending(1, all).offered
		busiest := int64(0)
		for _, n := range byMinute {
			busiest = max(busiest, n)
		}
		for _, share := range []int64{50, 80, 100, 150} {
			t.Run(fmt.Sprint(filepath.Base(file), " at ", share, " % of the busiest minute"), func(t *testing.T) {
				one, many := compare(t, all, busiest*share/100, 5, 57)
				t.Logf("one place: %v; fleet: %v", one, many)
				if many.worst > one.worst+5 || many.falsely > one.falsely+0.5 {
					t.Errorf("one place: %v; fleet: %v", one, many)
				}
			})
		}
	}
}

func readTrace(t *testing.T, file string) []arrival {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var all []arrival
	var first time.Time
	for _, row := range rows[1:] {
		at, err := time.Parse("2006-01-02 15:04:05.999999999", row[0])
		if err != nil {
			t.Fatal(err)
		}
		if first.IsZero() {
			first = at
		}
		a := arrival{at: at.Sub(first)}
		a.prompt, _ = strconv.ParseInt(row[1], 10, 64)
		a.output, _ = strconv.ParseInt(row[2], 10, 64)
		a.lasts = 300*time.Millisecond + time.Duration(a.output)*20*time.Millisecond
		all = append(all, a)
	}
	return all
}

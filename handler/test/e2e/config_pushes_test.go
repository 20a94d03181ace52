package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"spillway/handler/internal/configstore"
	"spillway/handler/internal/tablestore/azure"
)

// versions are those that the table holds, each of which must be whole.
func (f *fleet) versions() []configstore.Version {
	f.t.Helper()
	s := f.configStore()
	head, err := s.Head(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	all, err := s.History(f.t.Context(), &head)
	if err != nil {
		f.t.Fatal(err)
	}
	for i := range all {
		if _, err := s.Document(f.t.Context(), &all[i]); err != nil {
			f.t.Errorf("version %d: %v", all[i].Number, err)
		}
	}
	return all
}

func (f *fleet) configStore() *configstore.Store {
	f.t.Helper()
	table, err := azure.Connect(f.desk.connection(), "spillwayconfig", azure.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	return &configstore.Store{Table: table, App: "func-e2e"}
}

// Of pushes at once one wins, or they come one after another; none is half. A push
// without the table, or one that is killed, changes nothing or everything, and the
// next one works.
func TestPushesThatAreCutShort(t *testing.T) {
	t.Parallel()
	f := startFleet(t, fleetSetup{members: 1, backends: []backend{{name: "a", priority: 1}}, env: []string{configSource}})
	files := make([]string, 4)
	for i := range files {
		files[i] = f.file(`"name":"a"`, fmt.Sprintf(`"name":"a","weight":%d`, i+2))
	}
	var pushing sync.WaitGroup
	won := make([]bool, len(files))
	for i, file := range files {
		pushing.Go(func() {
			_, errs, code := f.configCommand("push", file)
			if won[i] = code == 0; !won[i] && (code != 1 || !strings.Contains(errs, "another version was pushed meanwhile")) {
				t.Errorf("push %d: %d\n%s", i, code, errs)
			}
		})
	}
	pushing.Wait()
	winners := 0
	for _, one := range won {
		if one {
			winners++
		}
	}
	if all := f.versions(); len(all) != winners || winners == 0 {
		t.Errorf("%d pushes won, and there are %d versions", winners, len(all))
	}
	f.desk.set(tableFaults{lost: 1})
	if _, errs, code := f.configCommand("push", f.file()); code != 1 || !strings.Contains(errs, "does not answer") {
		t.Errorf("without the table: %d\n%s", code, errs)
	}
	f.desk.set(tableFaults{})
	if all := f.versions(); len(all) != winners {
		t.Errorf("%d versions after a push without the table", len(all))
	}
	for i := range sized(t, 50, 5) {
		f.kill(f.file(`"name":"a"`, fmt.Sprintf(`"name":"a","weight":%d`, 100+i)))
	}
	before := len(f.versions())
	f.push(`"name":"a"`, `"name":"a","weight":999`)
	all := f.versions()
	if len(all) != min(before+1, configstore.Kept) {
		t.Errorf("%d versions, then %d", before, len(all))
	}
	f.adopted("current", all[0].Number, f.members[0])
	if rows := f.configRows(); rows > configstore.Kept+2 {
		t.Errorf("%d rows", rows)
	}
}

// file is the document of the setting with replacements.
func (f *fleet) file(replace ...string) string {
	f.t.Helper()
	file := filepath.Join(f.t.TempDir(), "pool.json")
	if err := os.WriteFile(file, []byte(strings.NewReplacer(replace...).Replace(f.document())), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return file
}

// kill starts a push and kills it at some moment.
func (f *fleet) kill(file string) {
	f.t.Helper()
	cmd := exec.Command(stagedProgram(), "config", "push", file)
	cmd.Env = append(cmd.Environ(), "SPILLWAY_CONFIG="+f.document(), configSource, "SPILLWAY_STATE="+f.desk.connection(), "AzureWebJobsStorage=", "FUNCTIONS_CUSTOMHANDLER_PORT=")
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	time.Sleep(rand.N(120 * time.Millisecond))
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func (f *fleet) configRows() int {
	f.t.Helper()
	rows, _, err := f.configStore().Table.List(f.t.Context(), "", "", "")
	if err != nil {
		f.t.Fatal(err)
	}
	return len(rows)
}

// However often the configuration changes, nothing grows: memory, goroutines, rows.
func TestManyPushesLeaveNothingBehind(t *testing.T) {
	soakOnly(t)
	f := startFleet(t, fleetSetup{
		members: 5, backends: []backend{{name: "ptu", priority: 1}, {name: "payg", priority: 2}}, env: []string{configSource, "SPILLWAY_STATE_REFRESH=100ms"},
	})
	run := f.fire(200, f.members...)
	s := f.configStore()
	push := func(i int) {
		text := strings.Replace(f.document(), `"name":"ptu"`, fmt.Sprintf(`"name":"ptu","weight":%d,"circuitBreaker":{"failures":%d}`, 1+i%100, 5+i/10%20), 1)
		head, err := s.Head(t.Context())
		if err == nil {
			_, err = s.Push(t.Context(), &head, text, "soak")
		}
		if err != nil {
			t.Fatal(err)
		}
		f.adopted("current", head.Number+1, f.members...)
	}
	for i := range 50 {
		push(i)
	}
	memory, goroutines, rows := f.sizes()
	for i := range 1000 {
		push(50 + i)
	}
	memoryAfter, goroutinesAfter, rowsAfter := f.sizes()
	samples := run.finish()
	t.Logf("%d requests, %d failed; after 50 and 1,050 versions: memory %v and %v MiB, goroutines %v and %v, rows %d and %d",
		len(samples), f.failures(samples), memory, memoryAfter, goroutines, goroutinesAfter, rows, rowsAfter)
	if f.failures(samples) > 0 || rowsAfter > configstore.Kept+2 {
		t.Errorf("%d requests failed, %d rows", f.failures(samples), rowsAfter)
	}
	for i := range f.members {
		if memoryAfter[i] > 1.5*memory[i]+16 || goroutinesAfter[i] > 1.5*goroutines[i]+50 {
			t.Errorf("instance %d grew", i)
		}
	}
}

// sizes are the memory in MiB and the goroutines of each instance, and the rows of the
// configuration.
func (f *fleet) sizes() (memory, goroutines []float64, rows int) {
	f.t.Helper()
	for _, m := range f.members {
		all := scrape(f.t, "http://"+m.address.Load().(string))
		memory = append(memory, float64(int(sumOf(all["process_memory_usage_bytes"])/(1<<20))))
		goroutines = append(goroutines, sumOf(all["go_goroutine_count"]))
	}
	return memory, goroutines, f.configRows()
}

// sumOf is the sum of a gauge's values.
func sumOf(family *dto.MetricFamily) (sum float64) {
	for _, m := range family.GetMetric() {
		sum += m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
	}
	return sum
}

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	"spillway/handler/internal/tablestore/storetest"
	"spillway/handler/test/funchost"
)

// turnCounts counts what became of the turnCounts of many conversations.
type turnCounts struct {
	served atomic.Int64
	mu     sync.Mutex
	errors []string
}

func (c *turnCounts) failed(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errors = append(c.errors, why)
}

// Five clients that know nothing of one another, three handlers that share a
// table, four backends that know nothing of one another, and every turn at
// another handler; one of them is killed and restarted meanwhile.
func TestConversationTurnsStayAtTheirBackend(t *testing.T) {
	t.Parallel()
	folder := tools(t)
	shared := api{resources: fourResources(), env: []string{"SPILLWAY_STATE=" + storetest.Azurite(t)}}
	r := shared.start(t)
	hosts := []*funchost.Host{r.host, shared.handler(r), shared.handler(r)}
	urls := []string{hosts[0].URL, hosts[1].URL, hosts[2].URL}

	var count turnCounts
	var talking sync.WaitGroup
	var halfway sync.Once
	talking.Go(func() {
		goConversations(t, urls, &count, func(done int) {
			if done > 200 {
				halfway.Do(hosts[1].Restart)
			}
		})
	})
	for kind, conversations := range map[string]string{"openai": "10", "azure": "4", "langchain": "6", "ai": "6"} {
		talking.Go(func() { nodeConversations(t, folder, kind, urls, conversations, &count) })
	}
	talking.Wait()

	for _, why := range count.errors {
		t.Error(why)
	}
	if n := count.served.Load(); n < 1000 {
		t.Errorf("%d turns, want 1000", n)
	}
	if n := len(hosts[1].Events()); n < 4 {
		t.Errorf("the second handler was not restarted: %v", hosts[1].Events())
	}
	by := map[string]int{}
	for _, e := range r.sim.Journal() {
		if strings.HasSuffix(e.ErrorName, "previous") || strings.HasPrefix(e.ErrorName, "400-") {
			t.Errorf("%s answered %s", e.Resource, e.ErrorName)
		}
		by[e.Resource]++
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		if by[name] < 50 {
			t.Errorf("%s served %d requests of %v: the conversations were not spread", name, by[name], by)
		}
	}
	t.Logf("%d turns, requests by backend %v", count.served.Load(), by)
}

// goConversations leads 20 conversations of 25 turns with openai-go, each turn
// at the next address.
func goConversations(t *testing.T, urls []string, count *turnCounts, progress func(done int)) {
	var clients []openai.Client
	for _, url := range urls {
		clients = append(clients, openai.NewClient(option.WithBaseURL(url+"/openai/v1"), option.WithAPIKey("any"), option.WithMaxRetries(8)))
	}
	var all sync.WaitGroup
	var done atomic.Int64
	for c := range 20 {
		all.Go(func() {
			previous := ""
			for n := range 25 {
				ask := responses.ResponseNewParams{Model: "gpt-4o", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(fmt.Sprint("Turn ", n))}}
				if previous != "" {
					ask.PreviousResponseID = openai.String(previous)
				}
				got, err := clients[(c+n)%len(clients)].Responses.New(t.Context(), ask)
				if err != nil {
					count.failed("openai-go: " + err.Error())
					continue
				}
				previous = got.ID
				count.served.Add(1)
				progress(int(done.Add(1)))
			}
		})
	}
	all.Wait()
}

func nodeConversations(t *testing.T, folder, kind string, urls []string, conversations string, count *turnCounts) {
	cmd := exec.CommandContext(t.Context(), "node", "testdata/conversation.mjs", kind, strings.Join(urls, ","), conversations, "25")
	cmd.Env = append(os.Environ(), "SPILLWAY_TOOLS="+folder)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var seen struct {
		Turns  int64
		Errors []string
	}
	if err == nil {
		err = json.Unmarshal(out, &seen)
	}
	if err != nil {
		count.failed(kind + ": " + err.Error())
		return
	}
	for _, why := range seen.Errors {
		count.failed(kind + ": " + why)
	}
	count.served.Add(seen.Turns)
}

// The control: whoever spreads the turns over the same backends without
// remembering who made what meets the wrong one.
func TestRoundRobinWithoutAffinityMissesTheBackend(t *testing.T) {
	t.Parallel()
	r := api{resources: fourResources()}.start(t)
	names := []string{"a", "b", "c", "d"}
	wrong := 0
	for c := range 20 {
		previous := ""
		for n := range 10 {
			name := names[(c+n)%4]
			body := fmt.Sprintf(`{"model":"gpt-4o-at-%s","input":"Turn"%s}`, name, previous)
			a := ask(t.Context(), t, http.MethodPost, r.sim.URL(name)+responsesPath, body, "Api-Key", backendKey)
			if a.status != http.StatusOK {
				wrong++
				continue
			}
			var m createdResponse
			a.decoded(t, &m)
			previous = fmt.Sprintf(`,"previous_response_id":%q`, m.ID)
		}
	}
	if wrong < 100 {
		t.Errorf("%d of 200 turns met the wrong backend: the simulated service proves nothing", wrong)
	}
}

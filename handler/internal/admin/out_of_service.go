package admin

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/telemetry/condition"
)

// OutOfService tells the other instances that this one serves nothing, and why. It
// has no page of its own.
type OutOfService struct {
	poller
	store   tablestore.Store
	key     string
	traffic sharedTraffic
}

// configurationPart fails on an instance that serves nothing, because its
// configuration is not valid.
const configurationPart = "configuration"

// NewOutOfService makes the report of an instance that was started with these faults
// in its configuration. Nothing is sent before Run.
func NewOutOfService(store tablestore.Store, instance, version string, started time.Time, faults []string) *OutOfService {
	why := condition.Status{
		Part: &condition.Part{
			Name: configurationPart, Works: "instances with another configuration; this one answers every request with 503 config_invalid",
			Fix: "correct the fault, or put back the document or setting of before; \"spillway validate\" checks them before they are used",
		},
		State: condition.Failing, Since: started, Why: truncate(strings.TrimSuffix(strings.Join(faults, " "), ".")),
	}
	return &OutOfService{newPoller(trafficInterval), store, trafficKey(instance), sharedTraffic{
		Instance: instance, Started: started.UnixMilli(), Version: version, Config: "not valid",
		Conditions: []ConditionStatus{{JSON: why.JSON(), Instance: instance}},
	}}
}

// Requested notes a request, while which the instance is there. It does not block.
func (o *OutOfService) Requested() { o.request() }

// Run reports at once and then, while requests arrive, as often as instances that
// serve. It returns when ctx is done.
func (o *OutOfService) Run(ctx context.Context) {
	o.request()
	o.run(ctx, o.report)
}

func (o *OutOfService) report(ctx context.Context) {
	o.traffic.At = time.Now().UnixMilli()
	_ = writeTraffic(ctx, o.store, o.key, &o.traffic) // the next report holds the same
}

// trafficKey is the key of the row of an instance, from now until it ends.
func trafficKey(instance string) string { return tablestore.EncodeKey(instance) + "-" + rand.Text() }

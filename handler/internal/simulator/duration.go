package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Durations are text in documents ("250ms") and time.Duration in Go. The types
// below read and write themselves so; unknown fields are errors.

var (
	resourceTimes   = []string{"storeDelay"}
	deploymentTimes = []string{"requestWindow", "provisionedBurst", "timeToFirstToken", "perToken", "perPromptToken"}
	faultTimes      = []string{"after", "for", "up", "down", "retryAfter", "dateSkew", "latency", "hold", "pause"}
)

type (
	plainResource   Resource
	plainDeployment Deployment
	plainFault      Fault
)

// UnmarshalJSON reads durations as text.
func (r *Resource) UnmarshalJSON(b []byte) error {
	return decodeTimed(b, (*plainResource)(r), resourceTimes)
}

// MarshalJSON writes durations as text.
func (r Resource) MarshalJSON() ([]byte, error) {
	return encodeTimed(plainResource(r), resourceTimes)
}

// UnmarshalJSON reads durations as text. Fields that the document does not name
// keep their value, so a document may be a change.
func (d *Deployment) UnmarshalJSON(b []byte) error {
	return decodeTimed(b, (*plainDeployment)(d), deploymentTimes)
}

// MarshalJSON writes durations as text.
func (d Deployment) MarshalJSON() ([]byte, error) {
	return encodeTimed(plainDeployment(d), deploymentTimes)
}

// UnmarshalJSON reads durations as text.
func (f *Fault) UnmarshalJSON(b []byte) error {
	return decodeTimed(b, (*plainFault)(f), faultTimes)
}

// MarshalJSON writes durations as text.
func (f Fault) MarshalJSON() ([]byte, error) {
	return encodeTimed(plainFault(f), faultTimes)
}

func decodeTimed(b []byte, into any, times []string) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	for _, name := range times {
		if err := textToNumber(fields, name); err != nil {
			return err
		}
	}
	plain, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

func textToNumber(fields map[string]json.RawMessage, name string) error {
	raw, ok := fields[name]
	if !ok {
		return nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("read %s %s: write a duration like \"250ms\"", name, raw)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("read %s %q: write a duration like \"250ms\": %w", name, text, err)
	}
	fields[name] = json.RawMessage(fmt.Sprint(int64(d)))
	return nil
}

func encodeTimed(plain any, times []string) ([]byte, error) {
	b, err := json.Marshal(plain)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return nil, err
	}
	for _, name := range times {
		var d time.Duration
		if raw, ok := fields[name]; ok && json.Unmarshal(raw, &d) == nil {
			fields[name] = json.RawMessage(fmt.Sprintf("%q", d.String()))
		}
	}
	return json.Marshal(fields)
}

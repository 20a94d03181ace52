package document

import "spillway/handler/internal/config/jsondoc"

// CircuitBreaker is when a failing backend is left alone.
type CircuitBreaker struct {
	_               struct{}         `noun:"circuitBreaker" doc:"When a failing backend is left alone. A 429 is a throttle and never counts."`
	Failures        int              `json:"failures" min:"1" max:"1000000" default:"5" also:"count,threshold" doc:"So many failures within the interval, over all instances, open the circuit."`
	Interval        jsondoc.Duration `json:"interval" default:"\"10s\"" also:"window" doc:"The window in which failures are counted."`
	Percentage      int              `json:"percentage" min:"1" max:"100" default:"50" doc:"Or: this share of the window's requests, in percent ..."`
	MinimumRequests int              `json:"minimumRequests" min:"1" max:"1000000" default:"20" doc:"... once there were this many."`
	TripDuration    jsondoc.Duration `json:"tripDuration" default:"\"10s\"" also:"cooldown,timeout" doc:"How long an open circuit stays open before one probe is sent by the whole fleet."`
	MaxTripDuration jsondoc.Duration `json:"maxTripDuration" default:"\"5m\"" doc:"Consecutive trips last twice as long, up to this. A wrong credential or a missing deployment opens it for this long at once."`
	StatusCodes     []string         `json:"statusCodes" least:"1" pattern:"^[1-9][0-9]{2}(-[1-9][0-9]{2})?$" say:"a status code or a range in quotes, such as \"408\" or \"500-599\"" default:"[\"500-599\", \"408\"]" also:"statuscoderanges" doc:"Which answers are failures. Connection errors and timeouts always are; 429 never is."`
}

// Throttle is what is done when a backend answers 429.
type Throttle struct {
	_                struct{}         `noun:"throttle" doc:"What is done when a backend answers 429."`
	AcceptRetryAfter bool             `json:"acceptRetryAfter" default:"true" doc:"Wait as long as its answer asks. Otherwise always defaultWait."`
	DefaultWait      jsondoc.Duration `json:"defaultWait" default:"\"10s\"" doc:"How long to wait when its answer does not say."`
	MaxWait          jsondoc.Duration `json:"maxWait" default:"\"5m\"" doc:"Longer waits are cut to this: backends have been seen to ask for a day."`
	LeaveAt          *LeaveAt         `json:"leaveAt" example:"{\"utilization\": 95, \"remainingTokens\": 0.02}" doc:"Send a nearly full backend less before it answers 429. Off when absent."`
}

// LeaveAt is when a backend is nearly full.
type LeaveAt struct {
	_               struct{} `noun:"leaveAt" doc:"When a backend is nearly full, by the headers of its answers. It then takes a share of its traffic only."`
	Enabled         bool     `json:"enabled" default:"true" doc:"The switch: false turns it off without losing the numbers."`
	Utilization     float64  `json:"utilization" min:"1" max:"100" default:"95" doc:"At this utilization of a provisioned deployment, in percent."`
	RemainingTokens float64  `json:"remainingTokens" min:"0" max:"1" default:"0.02" doc:"When this share of its tokens per minute is left: 0.02 is 2 percent."`
}

// Consumer is who calls.
type Consumer struct {
	_                 struct{}          `noun:"a consumer" doc:"One application or team that calls, with what it may do. A limit that is absent does not limit."`
	Name              string            `json:"name" required:"yes" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" say:"a name of at most 64 letters, digits, '.', '_' or '-'" example:"\"team-a\"" also:"id" doc:"How logs, metrics and usage reports call it. Unique."`
	KeySetting        string            `json:"keySetting" quiet:"yes" pattern:"^[A-Za-z_][A-Za-z0-9_]{0,127}$" say:"the name of an app setting: letters, digits and '_'" example:"\"TEAM_A_KEY\"" also:"key,apikey,api_key,setting" doc:"The name of the app setting that holds its key. Never the key itself."`
	KeySettings       []string          `json:"keySettings" quiet:"yes" most:"2" pattern:"^[A-Za-z_][A-Za-z0-9_]{0,127}$" say:"the name of an app setting: letters, digits and '_'" example:"[\"TEAM_A_KEY\", \"TEAM_A_KEY_NEXT\"]" also:"keys" doc:"The same for two keys at once, so that keys can be rotated."`
	Models            []string          `json:"models" least:"1" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" say:"a model name" example:"[\"gpt-4o\"]" also:"deployments_allowed,deployments,allowedmodels" doc:"The models it may use. All of them when absent."`
	Geographies       []string          `json:"geographies" least:"1" pattern:"^[a-z0-9][a-z0-9-]{0,31}$" say:"a geography in lower case, such as eu or uk" example:"[\"eu\", \"uk\"]" also:"geography,geo" doc:"Its residency fence: only backends of these geographies, never crossed by failover or fallback. Everywhere when absent."`
	MinPriority       int               `json:"minPriority" min:"1" max:"1000" also:"maxpriority,priority" doc:"It only reaches priority groups with this number or a higher one, which keeps the first groups (the PTU) for others."`
	MaxRequestTokens  int64             `json:"maxRequestTokens" min:"1" also:"maxtokens,max_tokens" doc:"The largest single request, in tokens, prompt and answer together."`
	Concurrency       int               `json:"concurrency" min:"1" also:"maxconcurrency,max_parallel_requests" doc:"So many of its requests may run at once, per instance."`
	TokensPerMinute   int64             `json:"tokensPerMinute" min:"1" also:"tpm,max_tokens_per_minute" doc:"Over all instances."`
	RequestsPerMinute int64             `json:"requestsPerMinute" min:"1" also:"rpm" doc:"Over all instances."`
	TokensPerMonth    int64             `json:"tokensPerMonth" min:"1" doc:"Over all instances, per calendar month in UTC."`
	BudgetPerMonth    float64           `json:"budgetPerMonth" min:"0.01" also:"budget,max_budget" doc:"Money per calendar month in UTC, in the currency of the models' prices."`
	PerModel          map[string]Limits `json:"perModel" keys:"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" keysay:"a model name" doc:"Limits for single models, besides those for all of them together."`
	Class             string            `json:"class" enum:"interactive|batch" default:"\"interactive\"" doc:"Who goes first under pressure: when the pool is throttled, interactive consumers wait for it first and batch is refused first."`
	Entra             *Entra            `json:"entra" example:"{\"appId\": \"11111111-2222-3333-4444-555555555555\"}" also:"aad" doc:"Which Entra ID tokens are this consumer's. Every id that is given must match."`
	Transcripts       bool              `json:"transcripts" doc:"Keep its full requests and answers in the container that SPILLWAY_TRANSCRIPTS names."`
}

// Limits are the quotas of one consumer for one model.
type Limits struct {
	_                 struct{} `noun:"limits" doc:"What one consumer may use of one model."`
	TokensPerMinute   int64    `json:"tokensPerMinute" min:"1" also:"tpm" doc:"Over all instances."`
	RequestsPerMinute int64    `json:"requestsPerMinute" min:"1" also:"rpm" doc:"Over all instances."`
	TokensPerMonth    int64    `json:"tokensPerMonth" min:"1" doc:"Over all instances, per calendar month in UTC."`
	BudgetPerMonth    float64  `json:"budgetPerMonth" min:"0.01" also:"budget" doc:"Money per calendar month in UTC."`
}

// Entra is which Entra ID tokens belong to a consumer.
type Entra struct {
	_     struct{} `noun:"entra" doc:"Which Entra ID tokens belong to a consumer."`
	AppID string   `json:"appId" pattern:"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$" say:"an application (client) id, a GUID" example:"\"11111111-2222-3333-4444-555555555555\"" also:"appid,azp,clientid,client_id" doc:"The calling application: the token's appid or azp. For a managed identity, its client id."`
	Group string   `json:"group" pattern:"^[^\\s]{1,128}$" say:"a group's object id without spaces" doc:"A group in the token's groups."`
	Role  string   `json:"role" pattern:"^[^\\s]{1,128}$" say:"an app role's value without spaces" example:"\"Spillway.Call\"" doc:"An app role in the token's roles."`
}

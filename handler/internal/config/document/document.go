// Package document is the pool document as operators write it: its fields, what
// they mean together, and everything that can be wrong with it. It knows no
// environment.
package document

import "spillway/handler/internal/config/jsondoc"

// Document is the pool document as the operator wrote it, with the defaults
// filled in. Fields are documented by their tags, which are also its schema.
type Document struct {
	_              struct{}       `noun:"the pool document" doc:"Which backends Spillway sends to, in which order, and who may call it."`
	Schema         string         `json:"$schema" doc:"Where the JSON Schema is, for editors. Spillway does not read it."`
	Backends       []Backend      `json:"backends" required:"yes" least:"1" example:"[{\"name\": \"payg\", \"endpoint\": \"https://contoso.openai.azure.com\"}]" also:"endpoints,model_list,targets" doc:"The Azure OpenAI resources (or OpenAI-compatible services) that requests are sent to."`
	Models         []Model        `json:"models" keys:"^(\\*|[A-Za-z0-9][A-Za-z0-9._-]{0,63})$" keysay:"a model name of at most 64 letters, digits, '.', '_' or '-', or \"*\" for any other model" doc:"How each model's backends are chosen. A model that is served by a backend needs no entry; \"*\" is every model that has no pool of its own."`
	CircuitBreaker CircuitBreaker `json:"circuitBreaker" also:"breaker" doc:"When a failing backend is left alone."`
	Throttle       Throttle       `json:"throttle" also:"throttling" doc:"What is done when a backend answers 429."`
	Consumers      []Consumer     `json:"consumers" also:"clients,keys" doc:"Who may call, and how much they may use."`
}

// Backend is one resource that requests are sent to.
type Backend struct {
	_              struct{}         `noun:"a backend" doc:"One Azure OpenAI resource, or one OpenAI-compatible service."`
	Name           string           `json:"name" required:"yes" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$" say:"a name of at most 100 letters, digits, '.', '_' or '-'" example:"\"ptu-uksouth\"" also:"id" doc:"How logs, metrics, commands and the status page call it. Unique. Renaming a backend makes it a new one."`
	Endpoint       string           `json:"endpoint" required:"yes" example:"\"https://contoso.openai.azure.com\"" also:"url,address,base,baseurl,base_url,api_base,uri,host" doc:"Its base URL: https://NAME.openai.azure.com for an Azure OpenAI resource, the URL up to and including /v1 for kind openai."`
	Kind           string           `json:"kind" enum:"azure-openai|openai" default:"\"azure-openai\"" also:"type,provider" doc:"azure-openai (default) is an Azure OpenAI or Foundry resource; openai is any OpenAI-compatible base URL, such as a self-hosted model as a last resort."`
	Region         string           `json:"region" example:"\"uksouth\"" also:"location" doc:"The Azure region it is in, for people and for the x-spillway-region header."`
	Geography      string           `json:"geography" pattern:"^[a-z0-9][a-z0-9-]{0,31}$" say:"a geography in lower case, such as eu or uk" example:"\"eu\"" also:"geo,residency" doc:"The residency fence it is in. A consumer with geographies only reaches backends in one of them."`
	Priority       int              `json:"priority" min:"0" max:"1000" default:"1" also:"order,tier" doc:"Backends with the lowest number are tried first; those with a higher one only when none of the lower ones is available."`
	PriorityIn     map[string]int   `json:"priorityIn" min:"0" max:"1000" example:"{\"westeurope\": 1}" doc:"Priority for instances that run in a region (REGION_NAME), so that one document serves several regions."`
	Weight         int              `json:"weight" min:"0" max:"1000" default:"1" doc:"Its share of the requests inside its priority group. 0 is drained: it gets none."`
	Capacity       string           `json:"capacity" enum:"provisioned|pay-as-you-go" default:"\"pay-as-you-go\"" also:"sku,deploymenttype" doc:"provisioned for throughput units (PTU): its waits are obeyed to the millisecond, and prompts too long for it go to the next group."`
	Deployments    jsondoc.Pairs    `json:"deployments" keys:"^(\\*|[A-Za-z0-9][A-Za-z0-9._-]{0,63})$" keysay:"a model name of at most 64 letters, digits, '.', '_' or '-', or \"*\" for any other model" pattern:"^(\\*|[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127})$" say:"a deployment name" example:"{\"gpt-4o\": \"gpt-4o-ptu\"}" also:"deployment,models,model" doc:"The models it serves: an object of model and deployment name, or a list when the names are equal. Without it, any model is served and its name passed through. \"*\" stands for any model that is not named here, as its value for the caller's name. Models that are named nowhere share one circuit at each backend, and each instance learns of their throttles by itself; the instances agree on those of a model that is named under models."`
	Auth           Auth             `json:"auth" example:"{\"mode\": \"api-key\", \"setting\": \"AOAI_KEY\"}" also:"apikey,api_key,api-key,key,credential,credentials,authentication" doc:"How Spillway authenticates to it."`
	Stateful       bool             `json:"stateful" doc:"Files, batches, vector stores and other stored objects of its models are kept here, and nowhere else."`
	Adopt          string           `json:"adopt" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" say:"the name of a consumer" example:"\"team-a\"" doc:"The consumer whose stored objects it holds from the time before the gateway. With several consumers, an id that nobody is known to have made is looked for here, for this consumer only, and belongs to it from then on, if it was made before an instance first ran with this setting. For resources that were this consumer's alone. Needs the table."`
	CallerHeader   string           `json:"callerHeader" pattern:"^[Xx]-[A-Za-z0-9][A-Za-z0-9-]{0,60}$" say:"the name of a header that begins with x-" example:"\"x-caller-id\"" doc:"The request header that carries the id of the caller's Entra token (oid, else sub); what a caller sends in it is removed. Callers with a key have no id. Unset, no backend learns who calls."`
	PassHeaders    []string         `json:"passHeaders" pattern:"^[Xx]-[A-Za-z0-9][A-Za-z0-9-]{0,60}$" say:"the name of a header that begins with x-" example:"[\"x-priority\"]" doc:"Request headers of its own that reach it from callers whatever the consumers are. With several consumers, or for one with models or maxRequestTokens, only headers of the published APIs do besides."`
	CircuitBreaker *BackendBreaker  `json:"circuitBreaker" example:"{\"tripDuration\": \"30s\"}" also:"breaker" doc:"When it is left alone, where that differs from the pool's circuitBreaker."`
	Throttle       *BackendThrottle `json:"throttle" example:"{\"maxWait\": \"1m\"}" also:"throttling" doc:"What is done when it answers 429, where that differs from the pool's throttle."`
	Prices         map[string]Price `json:"prices" keys:"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" keysay:"a model name" example:"{\"gpt-4o\": {\"input\": 2.75, \"output\": 11}}" doc:"What models cost here, where it differs from the price of the model: a region, a data zone, or provisioned capacity that is paid for anyway."`
	CountUsage     bool             `json:"countUsage" default:"true" doc:"Ask it for the usage of streams. What refuses that is served without it anyway; false saves the first refusal, and has usage estimated."`
	HTTP2          bool             `json:"http2" doc:"Speak HTTP/2 to it when it offers it: less memory when many streams are open."`
}

// Auth is how Spillway authenticates to a backend.
type Auth struct {
	_        struct{} `noun:"auth" doc:"How Spillway authenticates to a backend."`
	Mode     string   `json:"mode" enum:"managed-identity|api-key|pass-through|none" default:"\"managed-identity\"" also:"type,kind" doc:"managed-identity (default for Azure OpenAI), api-key, pass-through (the caller's own Entra token is forwarded), or none."`
	Setting  string   `json:"setting" quiet:"yes" pattern:"^[A-Za-z_][A-Za-z0-9_]{0,127}$" say:"the name of an app setting: letters, digits and '_'" example:"\"AOAI_KEY_SWEDEN\"" also:"key,apikey,api_key,api-key,value,secret,keysetting" doc:"With api-key: the name of the app setting that holds the key, so that Key Vault references work. Never the key itself."`
	ClientID string   `json:"clientId" pattern:"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$" say:"the client id (a GUID) of a user-assigned identity" example:"\"11111111-2222-3333-4444-555555555555\"" also:"client_id,identity" doc:"With managed-identity: the user-assigned identity to use. Without it AZURE_CLIENT_ID, else the system-assigned one."`
}

// Model is how the backends of one model are chosen.
type Model struct {
	_                  struct{}         `noun:"a model" doc:"How the backends of one model are chosen."`
	Name               string           `json:"-" key:"yes"`
	Aliases            []string         `json:"aliases" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" say:"a model name of at most 64 letters, digits, '.', '_' or '-'" example:"[\"gpt-4\"]" also:"alias" doc:"Other names under which callers may ask for it."`
	Strategy           string           `json:"strategy" enum:"weighted|round-robin|least-busy|lowest-latency" default:"\"weighted\"" also:"routing,routing_strategy,policy" doc:"How a priority group shares its requests."`
	LatencySensitivity jsondoc.Duration `json:"latencySensitivity" default:"\"100ms\"" doc:"With lowest-latency: all backends whose recent time to first token is within this of the fastest share by weight."`
	Affinity           string           `json:"affinity" enum:"prompt-cache|none" default:"\"prompt-cache\"" doc:"Whether requests with a common prompt prefix stay together, so that prompt caches hit."`
	Fallbacks          []string         `json:"fallbacks" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" say:"the name of another model" example:"[\"gpt-4o-mini\"]" also:"fallback" doc:"Models to try, in order, when every backend of this one is exhausted."`
	OnContentFilter    string           `json:"onContentFilter" enum:"refuse|fallback" default:"\"refuse\"" doc:"What becomes of a request that the content filter of this model refuses: the caller gets the refusal, or the fallbacks are tried, and the caller gets the refusal when none serves. Azure bills the prompt at each."`
	FirstTokenTimeout  jsondoc.Duration `json:"firstTokenTimeout" example:"\"20s\"" also:"timeout,ttft" doc:"How long to wait for the first meaningful event before the next backend is tried. Without it SPILLWAY_FIRST_TOKEN_TIMEOUT."`
	Attempts           int              `json:"attempts" min:"1" max:"100" example:"3" also:"retries,max_retries,num_retries" doc:"How many of its backends one request tries. Without it all of them."`
	Hedge              *Hedge           `json:"hedge" example:"{\"after\": \"p95\", \"maxPercent\": 5}" doc:"A second attempt at another backend when the first is slower than this. When absent, only a silent attempt gets one (docs/operations.md)."`
	MaxOutputTokens    int64            `json:"maxOutputTokens" min:"1" doc:"The largest answer of the model, in tokens: what a request without max_tokens reserves of limits per month. Without it a table of known models, else 32,768."`
	Price              *Price           `json:"price" example:"{\"currency\": \"USD\", \"input\": 2.5, \"output\": 10}" also:"cost,prices" doc:"What its tokens cost, for usage reports and budgets."`
}

// Hedge is a second attempt when the first is slow.
type Hedge struct {
	_          struct{} `noun:"a hedge" doc:"A second attempt when the first is slow. The loser is cancelled and its tokens are accounted for."`
	After      string   `json:"after" required:"yes" pattern:"^(p[1-9][0-9]?(\\.[0-9]+)?|([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$" say:"a percentile such as p95 of the recent time to first token, or a duration such as 800ms" example:"\"p95\"" doc:"When the second attempt starts: after this percentile of the recent time to first token, or after this time."`
	MaxPercent float64  `json:"maxPercent" min:"0.1" max:"50" default:"5" doc:"Second attempts are at most this share of the requests, in percent."`
}

// Price is money per million tokens, per image and per second of audio.
type Price struct {
	_              struct{}    `noun:"a price" doc:"Money per million tokens, per image, and per second of audio."`
	Currency       string      `json:"currency" pattern:"^[A-Z]{3}$" say:"a currency code of three capitals such as USD" default:"\"USD\"" doc:"Its code, the same for all models."`
	Input          float64     `json:"input" min:"0" also:"prompt" doc:"Per million prompt tokens."`
	CachedInput    float64     `json:"cachedInput" min:"0" also:"cached" doc:"Per million prompt tokens that came from the prompt cache. Without it they cost as much as others."`
	CacheWrite     float64     `json:"cacheWrite" min:"0" doc:"Per million prompt tokens that were written to the prompt cache. Without it they cost as much as others."`
	CacheWriteHour float64     `json:"cacheWriteHour" min:"0" doc:"Per million prompt tokens that were written to a prompt cache that is kept for an hour, of Claude models. Without it they cost as much as other cache writes."`
	Output         float64     `json:"output" min:"0" also:"completion" doc:"Per million completion tokens, reasoning included."`
	Reasoning      float64     `json:"reasoning" min:"0" doc:"Per million reasoning tokens, where they differ from other completion tokens."`
	AudioInput     float64     `json:"audioInput" min:"0" doc:"Per million audio tokens of the prompt. Without it they cost as much as others."`
	AudioOutput    float64     `json:"audioOutput" min:"0" doc:"Per million audio tokens of the answer. Without it they cost as much as others."`
	Image          float64     `json:"image" min:"0" doc:"For each image, of models that are billed by image. Others are billed by the tokens of their images."`
	AudioSecond    float64     `json:"audioSecond" min:"0" doc:"For each second of audio, of models that are billed by duration."`
	Tiers          *PriceTiers `json:"tiers" example:"{\"priority\": {\"input\": 4.25, \"output\": 17}}" doc:"The prices of service tiers other than the default one. A tier that is absent costs as much as the default one."`
}

// PriceTiers are the prices of the service tiers.
type PriceTiers struct {
	_        struct{}   `noun:"tiers" doc:"The prices of service tiers other than the default one."`
	Priority *TierPrice `json:"priority" doc:"Of priority processing."`
	Flex     *TierPrice `json:"flex" doc:"Of flex processing."`
	Batch    *TierPrice `json:"batch" doc:"Of batch."`
}

// TierPrice is the price of one service tier.
type TierPrice struct {
	_              struct{} `noun:"the price of a tier" doc:"Money per million tokens at one service tier."`
	Input          float64  `json:"input" min:"0" doc:"Per million prompt tokens."`
	CachedInput    float64  `json:"cachedInput" min:"0" doc:"Per million prompt tokens that came from the prompt cache."`
	CacheWrite     float64  `json:"cacheWrite" min:"0" doc:"Per million prompt tokens that were written to the prompt cache."`
	CacheWriteHour float64  `json:"cacheWriteHour" min:"0" doc:"Per million prompt tokens that were written to a prompt cache that is kept for an hour."`
	Output         float64  `json:"output" min:"0" doc:"Per million completion tokens."`
	Reasoning      float64  `json:"reasoning" min:"0" doc:"Per million reasoning tokens, where they differ from other completion tokens."`
	AudioInput     float64  `json:"audioInput" min:"0" doc:"Per million audio tokens of the prompt."`
	AudioOutput    float64  `json:"audioOutput" min:"0" doc:"Per million audio tokens of the answer."`
}

// CircuitBreaker is when a failing backend is left alone.
type CircuitBreaker struct {
	_               struct{}         `noun:"circuitBreaker" doc:"When a failing backend is left alone. A 429 is a throttle and never counts."`
	Failures        int              `json:"failures" min:"1" max:"1000000" default:"5" also:"count,threshold" doc:"So many failures of one instance within the interval open the circuit, if they are percentage of its answers there; or so many in a row, however slowly they come (within 10 minutes). Where no instance has as many, those of all instances add up."`
	Interval        jsondoc.Duration `json:"interval" default:"\"10s\"" longest:"24h" also:"window" doc:"The window in which failures are counted."`
	Percentage      int              `json:"percentage" min:"1" max:"100" default:"50" doc:"Qualifies failures: fewer than this share of the answers within the interval, in percent, opens nothing."`
	TripDuration    jsondoc.Duration `json:"tripDuration" default:"\"10s\"" longest:"24h" also:"cooldown,timeout" doc:"How long an open circuit stays open before one request probes the backend."`
	MaxTripDuration jsondoc.Duration `json:"maxTripDuration" default:"\"5m\"" longest:"24h" doc:"Consecutive trips last twice as long, up to this."`
	MinimumRequests int              `json:"minimumRequests" deprecated:"yes" doc:"Ignored: percentage qualifies failures."`
	StatusCodes     []string         `json:"statusCodes" deprecated:"yes" also:"statuscoderanges" doc:"Ignored: 408, 500 to 599, redirects, connection errors and timeouts are failures."`
}

// BackendBreaker is the circuitBreaker of one backend. A zero member is the
// pool's.
type BackendBreaker struct {
	_               struct{}         `noun:"circuitBreaker of a backend" doc:"When this backend is left alone. A member that is absent is as circuitBreaker has it for the pool."`
	Failures        int              `json:"failures" min:"1" max:"1000000" also:"count,threshold" doc:"So many failures open its circuit."`
	Interval        jsondoc.Duration `json:"interval" longest:"24h" also:"window" doc:"The window in which its failures are counted."`
	Percentage      int              `json:"percentage" min:"1" max:"100" doc:"The least share of failures among its answers, in percent, that opens its circuit."`
	TripDuration    jsondoc.Duration `json:"tripDuration" longest:"24h" also:"cooldown,timeout" doc:"How long its circuit stays open before one request probes it."`
	MaxTripDuration jsondoc.Duration `json:"maxTripDuration" longest:"24h" doc:"Consecutive trips last twice as long, up to this."`
}

// Throttle is what is done when a backend answers 429.
type Throttle struct {
	_                struct{}         `noun:"throttle" doc:"What is done when a backend answers 429."`
	AcceptRetryAfter bool             `json:"acceptRetryAfter" default:"true" doc:"Wait as long as its answer asks. Otherwise always defaultWait."`
	DefaultWait      jsondoc.Duration `json:"defaultWait" default:"\"10s\"" longest:"24h" doc:"How long to wait when its answer does not say."`
	MaxWait          jsondoc.Duration `json:"maxWait" default:"\"5m\"" longest:"24h" doc:"Longer waits are cut to this: backends have been seen to ask for a day."`
	LeaveAt          *LeaveAt         `json:"leaveAt" example:"{\"utilization\": 95, \"remainingTokens\": 0.02}" doc:"Send a nearly full backend less before it answers 429. Off when absent."`
}

// BackendThrottle is the throttle of one backend. A nil or zero member is the
// pool's.
type BackendThrottle struct {
	_                struct{}         `noun:"throttle of a backend" doc:"What is done when this backend answers 429. A member that is absent is as throttle has it for the pool."`
	AcceptRetryAfter *bool            `json:"acceptRetryAfter" doc:"Wait as long as its answer asks. Otherwise always defaultWait."`
	DefaultWait      jsondoc.Duration `json:"defaultWait" longest:"24h" doc:"How long to wait when its answer does not say."`
	MaxWait          jsondoc.Duration `json:"maxWait" longest:"24h" doc:"Longer waits are cut to this."`
	LeaveAt          *LeaveAt         `json:"leaveAt" example:"{\"utilization\": 95, \"remainingTokens\": 0.02}" doc:"Send it less when it is nearly full, before it answers 429."`
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
	AllowUnmetered    bool              `json:"allowUnmetered" doc:"With a limit of tokens or money: allow batches, fine-tuning, evals and videos all the same, and tools of the service that cost money besides tokens, whose usage is not reported here and counts in no limit."`
	PerModel          map[string]Limits `json:"perModel" keys:"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" keysay:"a model name" doc:"Limits for single models, besides those for all of them together."`
	PerCaller         *CallerLimits     `json:"perCaller" example:"{\"tokensPerMinute\": 20000, \"budgetPerMonth\": 25}" also:"percaller,peruser,per_user" doc:"Limits for each of its callers, besides those for all of them together. A caller is the oid of an Entra token, else what the request names as safety_identifier or user (in Anthropic's API metadata.user_id); callers without a name share one."`
	WarnAt            []float64         `json:"warnAt" min:"1" max:"100" most:"10" default:"[50, 80, 95, 100]" example:"[80, 100]" doc:"At which percentages of a limit per month a warning is given. An empty list gives none."`
	Class             string            `json:"class" enum:"interactive|batch" default:"\"interactive\"" doc:"Who goes first under pressure: when the pool is throttled, interactive consumers wait for it first and batch is refused first."`
	Entra             *Entra            `json:"entra" example:"{\"appId\": \"11111111-2222-3333-4444-555555555555\"}" also:"aad" doc:"Which Entra ID tokens are this consumer's. Every id that is given must match."`
	Reach             []string          `json:"reach" enum:"data-sources|stored-completions" example:"[\"data-sources\"]" doc:"What it may use although that can show what other consumers stored: data_sources, storage accounts of batches, and connections, agents, memory and openapi tools of a project, which a backend uses with its own identity; evaluations over stored completions. Asked for where there are several consumers; for storage accounts also of a consumer with models or maxRequestTokens, since nobody checks those lines."`
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

// CallerLimits are the quotas of each caller of one consumer.
type CallerLimits struct {
	_                 struct{} `noun:"limits of callers" doc:"What each caller of one consumer may use."`
	TokensPerMinute   int64    `json:"tokensPerMinute" min:"1" also:"tpm" doc:"Over all instances."`
	RequestsPerMinute int64    `json:"requestsPerMinute" min:"1" also:"rpm" doc:"Over all instances."`
	TokensPerMonth    int64    `json:"tokensPerMonth" min:"1" doc:"Over all instances, per calendar month in UTC."`
	BudgetPerMonth    float64  `json:"budgetPerMonth" min:"0.01" also:"budget" doc:"Money per calendar month in UTC."`
	MaxActive         int      `json:"maxActive" min:"1" max:"10000" default:"1000" doc:"So many callers who called in the last two minutes have limits of their own, on each instance; further ones share one, since their names are theirs to invent."`
}

// Entra is which Entra ID tokens belong to a consumer.
type Entra struct {
	_     struct{} `noun:"entra" doc:"Which Entra ID tokens belong to a consumer."`
	AppID string   `json:"appId" pattern:"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$" say:"an application (client) id, a GUID" example:"\"11111111-2222-3333-4444-555555555555\"" also:"appid,azp,clientid,client_id" doc:"The calling application: the token's appid or azp. For a managed identity, its client id."`
	Group string   `json:"group" pattern:"^[^\\s]{1,128}$" say:"a group's object id without spaces" doc:"A group in the token's groups."`
	Role  string   `json:"role" pattern:"^[^\\s]{1,128}$" say:"an app role's value without spaces" example:"\"Spillway.Call\"" doc:"An app role in the token's roles."`
}

package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/config/jsondoc"
)

// shape is a pattern with its description.
type shape struct {
	expression *regexp.Regexp
	words      string
}

// The shapes of settings.
var (
	tablePattern      = shape{regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{2,40}$`), "the beginning of a table's name: 3 to 41 letters and digits, a letter first"}
	containerPattern  = shape{regexp.MustCompile(`^[a-z0-9](-?[a-z0-9]){2,62}$`), "the name of a blob container: 3 to 63 lower-case letters, digits and single hyphens"}
	hostPattern       = shape{regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`), "a host name"}
	guidPattern       = shape{regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`), "a GUID such as 11111111-2222-3333-4444-555555555555"}
	accountPattern    = shape{regexp.MustCompile(`^[a-z0-9]{3,24}$`), "the name of a storage account: 3 to 24 lower-case letters and digits"}
	deploymentPattern = shape{regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$`), "a deployment name"}
	sizePattern       = shape{regexp.MustCompile(`^([0-9]+)\s*(B|KB|MB|GB|KiB|MiB|GiB)?$`), "a size such as 100MiB"}
)

// pattern is the text when it has the shape; "" has every shape.
func (c *checker) pattern(name, text string, want shape) string {
	if text == "" || want.expression.MatchString(text) {
		return text
	}
	c.setting(name, strconv.Quote(text)+" is not allowed here", "Write "+want.words+".")
	return ""
}

func (c *checker) duration(name, text string, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		fix := `Write a duration as Go does, for example "10s", "800ms" or "1m30s".`
		if _, number := strconv.ParseFloat(text, 64); number == nil {
			fix = fmt.Sprintf("Write the unit too: %qs or %qms.", text, text)
			fix = strings.NewReplacer(`"s`, `s"`, `"ms`, `ms"`).Replace(fix)
		}
		c.setting(name, strconv.Quote(text)+" is no duration", fix)
	case d < least || d > most:
		c.setting(name, text+" is out of range", fmt.Sprintf("Write %v to %v.", jsondoc.Duration(least), jsondoc.Duration(most)))
	default:
		return d
	}
	return 0
}

// size is a number of bytes, in decimal or binary units.
func (c *checker) size(name, text string) int64 {
	const most = 1 << 30
	parts := sizePattern.expression.FindStringSubmatch(text)
	if parts == nil {
		c.setting(name, strconv.Quote(text)+" is no size", `Write a number with B, KB, MB, GB, KiB, MiB or GiB, for example "100MiB".`)
		return 0
	}
	unit := map[string]int64{
		"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	}[parts[2]]
	n, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || n > most/unit || n*unit < 1<<10 {
		c.setting(name, text+" is out of range", "Write 1KiB to 1GiB.")
		return 0
	}
	return n * unit
}

// hostBodyLimit is the Functions host's own limit of a request body, where no
// setting changes it (docs/functions-host.md#body-and-time-limits).
const hostBodyLimit = 100 << 20

// maxBody is the largest request body. Behind the host it is at most the host's
// limit: beyond that the host answers with an empty 500, which SDKs repeat.
func (c *checker) maxBody(in *inputs) int64 {
	const name = "SPILLWAY_MAX_BODY"
	n := c.size(name, in.ours.MaxBody)
	limit := int64(hostBodyLimit)
	if text := in.platform.BodyLimit; text != "" {
		if own, err := strconv.ParseInt(text, 10, 64); err == nil && own > 0 {
			limit = own
		}
	}
	if in.platform.Port != "" && n > limit {
		c.setting(name, "is above the host's own limit of "+strconv.FormatInt(limit, 10)+" bytes",
			"Lower it to 96MiB or less, or raise FUNCTIONS_REQUEST_BODY_SIZE_LIMIT.")
	}
	return n
}

func (c *checker) boolean(name, text string) bool {
	value, err := strconv.ParseBool(text)
	if err != nil {
		c.setting(name, strconv.Quote(text)+" is neither true nor false", "Write true or false.")
	}
	return value
}

func (c *checker) level(name, text string) slog.Level {
	words := []string{"debug", "info", "warn", "error"}
	var level slog.Level
	for _, word := range words {
		if strings.EqualFold(word, text) && level.UnmarshalText([]byte(word)) == nil {
			return level
		}
	}
	c.setting(name, strconv.Quote(text)+" is no log level", jsondoc.DidYouMean(text, words))
	return level
}

// patterns reads a JSON list of regular expressions in Go's syntax, which takes
// a time linear in the text whatever the pattern is. "" is none. The patterns
// themselves are not repeated: one may hold the secret that it hides.
func (c *checker) patterns(name, text string) (all []*regexp.Regexp) {
	if text == "" {
		return nil
	}
	var list []string
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		c.setting(name, "is no JSON list of texts", `Write for example ["sk-[A-Za-z0-9]{20,}"].`)
		return nil
	}
	for i, one := range list {
		pattern, err := regexp.Compile(one)
		if err != nil || pattern.MatchString("") {
			c.setting(name, "has a pattern that cannot work, number "+strconv.Itoa(i+1), "Correct it: Go's regular expressions (RE2), matching at least one character.")
			continue
		}
		all = append(all, pattern)
	}
	return all
}

// collector is the address of an OpenTelemetry collector.
func (c *checker) collector(name, text string) string {
	u, err := url.Parse(text)
	if text != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		c.setting(name, "is no http or https URL", `Write for example "http://127.0.0.1:4318".`)
		return ""
	}
	return text
}

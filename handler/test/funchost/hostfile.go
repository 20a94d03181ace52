package funchost

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// hostFile is what the double reads of host.json.
type hostFile struct {
	FunctionTimeout timeSpan `json:"functionTimeout"`
	Extensions      struct {
		HTTP struct {
			RoutePrefix *string `json:"routePrefix"`
		} `json:"http"`
	} `json:"extensions"`
	CustomHandler *customHandler `json:"customHandler"`
}

type customHandler struct {
	Description           *description `json:"description"`
	Forwarding            bool         `json:"enableForwardingHttpRequest"`
	Proxying              bool         `json:"enableProxyingHttpRequest"`
	InitializationTimeout timeSpan     `json:"initializationTimeout"`
	Port                  int          `json:"port"`
}

type description struct {
	Executable       string   `json:"defaultExecutablePath"`
	WorkingDirectory string   `json:"workingDirectory"`
	WorkerDirectory  string   `json:"workerDirectory"`
	Arguments        []string `json:"arguments"`
	ErrorsOnly       *bool    `json:"useStdErrorStreamForErrorsOnly"`
}

// errorsOnly tells whether every line on stderr is an error; true when unset.
func (d description) errorsOnly() bool { return d.ErrorsOnly == nil || *d.ErrorsOnly }

// routePrefix is what stands before every route; "api" when unset (D 11).
func (f hostFile) routePrefix() string {
	if f.Extensions.HTTP.RoutePrefix == nil {
		return "api"
	}
	return strings.Trim(*f.Extensions.HTTP.RoutePrefix, "/")
}

// readHostFile reads host.json of a staged folder and refuses one that no host
// would start a handler from (D 2), or only by its JSON envelope (D 14).
func readHostFile(root string) (hostFile, error) {
	var file hostFile
	content, err := os.ReadFile(filepath.Join(root, "host.json"))
	if err != nil {
		return file, fmt.Errorf("read host.json: %w; stage the app first", err)
	}
	if err := json.Unmarshal(content, &file); err != nil {
		return file, fmt.Errorf("read host.json: %w", err)
	}
	handler := file.CustomHandler
	switch {
	case handler == nil:
		return file, errors.New("host.json has no customHandler: name the program in customHandler.description.defaultExecutablePath")
	case handler.Description == nil:
		return file, errors.New("host.json: Missing worker Description: give customHandler.description")
	case handler.Description.Executable == "":
		return file, errors.New("host.json: customHandler.description.defaultExecutablePath is empty: name the program")
	case !handler.Proxying && !handler.Forwarding:
		return file, errors.New("host.json: without customHandler.enableProxyingHttpRequest the host sends a JSON envelope, which cannot stream: set it to true")
	}
	return file, nil
}

// timeSpan is a .NET TimeSpan in JSON: "[d.]hh:mm:ss", or "-1" for unbounded.
type timeSpan time.Duration

// UnmarshalJSON reads a span; an empty string leaves it zero.
func (s *timeSpan) UnmarshalJSON(text []byte) error {
	var word string
	if err := json.Unmarshal(text, &word); err != nil {
		return err
	}
	if word == "" {
		return nil
	}
	parsed, err := parseTimeSpan(word)
	*s = timeSpan(parsed)
	return err
}

func parseTimeSpan(word string) (time.Duration, error) {
	if word == "-1" {
		return -1, nil
	}
	var days int
	clock := word
	if day, rest, found := strings.Cut(word, "."); found && strings.Contains(rest, ":") {
		number, err := strconv.Atoi(day)
		if err != nil {
			return 0, fmt.Errorf("time span %q is not [d.]hh:mm:ss", word)
		}
		days, clock = number, rest
	}
	parts := strings.Split(clock, ":")
	if len(parts) != 3 {
		return 0, fmt.Errorf("time span %q is not [d.]hh:mm:ss", word)
	}
	length, err := time.ParseDuration(parts[0] + "h" + parts[1] + "m" + parts[2] + "s")
	if err != nil {
		return 0, fmt.Errorf("time span %q is not [d.]hh:mm:ss", word)
	}
	return time.Duration(days)*24*time.Hour + length, nil
}

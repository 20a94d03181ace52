package simulator

import (
	"fmt"
	"net/http"
	"strings"
)

// speech serves audio/speech: bytes of sound, none of it pleasant.
func (c *call) speech() {
	if !c.sleep(c.answerDelay(0)) {
		c.clientDisconnected()
		return
	}
	c.recordUsage(tokenUsage{})
	c.writeResponse(http.StatusOK, "audio/mpeg", []byte(strings.Repeat("\xff\xfb\x90\x44\x00\x00\x00\x00", 256)))
}

// transcription serves audio/transcriptions and audio/translations.
func (c *call) transcription() {
	if !c.sleep(c.answerDelay(0)) {
		c.clientDisconnected()
		return
	}
	text := strings.Join(c.textTokens(0, 1<<20), "")
	c.recordUsage(tokenUsage{})
	switch c.request.Form["response_format"] {
	case "text":
		c.writeResponse(http.StatusOK, "text/plain; charset=utf-8", []byte(text+"\n"))
	case "verbose_json":
		c.writeResponse(http.StatusOK, "", fmt.Appendf(nil, `{"task":"transcribe","language":"english","duration":1.0,"text":%s,"segments":[]}`, quote(text)))
	default:
		c.writeResponse(http.StatusOK, "", fmt.Appendf(nil, `{"text":%s}`, quote(text)))
	}
}

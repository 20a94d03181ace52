package request

import "testing"

// A picture counts as much where the body names its address as where it holds it, and
// files are noted, of which nobody knows how many tokens they have.
func TestPicturesAndFiles(t *testing.T) {
	const picture = 4096
	for what, c := range map[string]struct {
		content string
		counted int64 // bytes besides those of the content
		file    bool
	}{
		"text":                   {`"see https://example.org/a.png"`, 0, false},
		"an address of chat":     {`[{"type":"image_url","image_url":{"url":"https://example.org/a.png","detail":"high"}}]`, picture, false},
		"two of responses":       {`[{"type":"input_image","image_url":"https://example.org/a.png"},{"type":"input_image","image_url":"http://example.org/b.png"}]`, 2 * picture, false},
		"a small picture inside": {`[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]`, 0, false},
		"a cited page":           {`[{"type":"output_text","text":"it","annotations":[{"type":"url_citation","url":"https://example.org/"}]}]`, 0, false},
		"a file inside":          {`[{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,AAAA"}]`, 0, true},
	} {
		p, err := Parse([]byte(`{"model":"m","input":[{"role":"user","content":` + c.content + `}]}`))
		if whole := int64(len(`[{"role":"user","content":}]`) + len(c.content)); err != nil || p.PromptBytes != whole+c.counted || p.File != c.file {
			t.Errorf("%s: %d bytes besides its own, file %t, %v; want %d, %t", what, p.PromptBytes-whole, p.File, err, c.counted, c.file)
		}
	}
}

package api

import (
	"encoding/json"
	"net/http"
	"slices"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
)

// model is a model as OpenAI's API lists it.
type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func modelNamed(name string) model { return model{ID: name, Object: "model", OwnedBy: "spillway"} }

// models answers for the list of models and for one of them: what this
// consumer may use, by the names it asks for. The backends' own lists are of
// base models, deployed or not (facts/azure-openai.md §1.1).
func (s *Server) models(w http.ResponseWriter, route *operations.Route, c *consumer.Consumer) *Refusal {
	names := s.Models.Names(c)
	if route.Subpath == "" {
		list := struct {
			Object string  `json:"object"`
			Data   []model `json:"data"`
		}{"list", make([]model, 0, len(names))}
		for _, name := range names {
			list.Data = append(list.Data, modelNamed(name))
		}
		writeJSON(w, list)
		return nil
	}
	name := route.Subpath
	pools, ok := s.Models.Resolve(name)
	if !ok || !mayUse(c, pools[0], name) && !slices.Contains(names, name) {
		return modelNotFound(name, names)
	}
	writeJSON(w, modelNamed(name))
	return nil
}

func writeJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic("server: an answer that cannot be written: " + err.Error()) // strings and numbers only
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n'))
}

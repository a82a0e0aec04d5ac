// Answers queries of the collection "docs", whichever model its vectors are by at the moment (pgx 5).
//
// A query a line on standard input, an answer a line on standard output. DATABASE_URL names the database, EMBEDDINGS_URL
// the embeddings server.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const searchSQL = `
    SELECT d.id, d.title, v.distance, v.model
      FROM (SELECT doc_id, model, embedding <=> $1::vector AS distance
              FROM reembed_data.docs_current
             ORDER BY embedding <=> $1::vector LIMIT 10) v
      JOIN docs d ON d.id = v.doc_id
     ORDER BY v.distance`

type hit struct {
	ID       int64   `json:"id"`
	Title    string  `json:"title"`
	Distance float64 `json:"distance"`
	Model    string  `json:"-"`
}

type result struct {
	Model string `json:"model"`
	Hits  []hit  `json:"hits"`
}

// embed gives the vector as pgvector reads it. Your own function goes here. Models that want a prefix before queries get
// it here, too.
func embed(model, text string) (string, error) {
	body, err := json.Marshal(map[string]any{"model": model, "input": []string{text}})
	if err != nil {
		return "", err
	}
	answer, err := http.Post(os.Getenv("EMBEDDINGS_URL")+"/embeddings", "application/json", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var embedded struct {
		Data []struct{ Embedding json.RawMessage }
	}
	if err := json.NewDecoder(answer.Body).Decode(&embedded); err != nil {
		return "", err
	}
	if len(embedded.Data) != 1 {
		return "", fmt.Errorf("the embeddings server answers %s", answer.Status)
	}
	return string(embedded.Data[0].Embedding), nil
}

func search(ctx context.Context, db *pgx.Conn, text string) (*result, error) {
	for attempt := 0; attempt < 5; attempt++ {
		var model string
		err := db.QueryRow(ctx, "SELECT query_model FROM reembed.routing WHERE collection = 'docs'").Scan(&model)
		if err != nil {
			return nil, err
		}
		vector, err := embed(model, text)
		if err != nil {
			return nil, err
		}
		rows, err := db.Query(ctx, searchSQL, vector)
		if err != nil {
			return nil, err
		}
		hits, err := pgx.CollectRows(rows, pgx.RowToStructByPos[hit])
		var refused *pgconn.PgError
		if errors.As(err, &refused) && refused.Code == "22000" {
			continue // queries went over meanwhile, to a model with other dimensions: ask again
		}
		if err != nil {
			return nil, err
		}
		same := true
		for _, h := range hits {
			same = same && h.Model == model
		}
		if same {
			return &result{model, hits}, nil
		}
		// queries went over meanwhile: these are another model's hits, ask again
	}
	return nil, errors.New("the model changed at each of five attempts, or its vectors have other dimensions")
}

func main() {
	ctx := context.Background()
	db, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close(ctx)
	lines, answers := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for lines.Scan() {
		found, err := search(ctx, db, lines.Text())
		if err != nil {
			log.Fatal(err)
		}
		if err := answers.Encode(found); err != nil {
			log.Fatal(err)
		}
	}
}

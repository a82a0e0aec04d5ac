// Answers queries of the collection "docs", whichever model its vectors are by at the moment (node-postgres).
//
// A query a line on standard input, an answer a line on standard output. DATABASE_URL names the database, EMBEDDINGS_URL
// the embeddings server.
const readline = require('readline');
const { Pool } = require('pg');

const SEARCH = `
    SELECT d.id, d.title, v.distance, v.model
      FROM (SELECT doc_id, model, embedding <=> $1::vector AS distance
              FROM reembed_data.docs_current
             ORDER BY embedding <=> $1::vector LIMIT 10) v
      JOIN docs d ON d.id = v.doc_id
     ORDER BY v.distance`;

// Your own function goes here. Models that want a prefix before queries get it here, too.
async function embed(model, text) {
  const answer = await fetch(process.env.EMBEDDINGS_URL + '/embeddings', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ model, input: [text] }),
  });
  if (!answer.ok) throw new Error(`the embeddings server answers ${answer.status}`);
  return (await answer.json()).data[0].embedding;
}

async function search(pool, text) {
  for (let attempt = 0; attempt < 5; attempt++) {
    const routing = await pool.query("SELECT query_model FROM reembed.routing WHERE collection = 'docs'");
    const model = routing.rows[0].query_model;
    const vector = JSON.stringify(await embed(model, text));
    try {
      const hits = (await pool.query(SEARCH, [vector])).rows;
      if (hits.every((hit) => hit.model === model)) return { model, hits };
      // queries went over meanwhile: these are another model's hits, ask again
    } catch (error) {
      if (error.code !== '22000') throw error;
      // queries went over meanwhile, to a model with other dimensions: ask again
    }
  }
  throw new Error('the model changed at each of five attempts, or its vectors have other dimensions');
}

async function main() {
  const pool = new Pool({ connectionString: process.env.DATABASE_URL });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await search(pool, line)));
  }
  await pool.end();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

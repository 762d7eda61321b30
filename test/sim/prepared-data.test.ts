/** The tokens of a run depend neither on the number of peers nor on losses. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { DEFAULT_COSTS, DEFAULT_LINK, play, type Scenario } from '../../sim/scenario.ts'
import { readDataset } from '../../src/data/dataset.ts'
import { PreparedCorpus } from '../../src/data/prepared-corpus.ts'
import { ShardFiles } from '../../src/data/shard-files.ts'
import { jsonLines, makeDataset, sentences, write } from '../fixtures/dataset.ts'
import { temporaryFolder } from '../fixtures/folder.ts'
import { entriesOf, tinyRun } from '../fixtures/swarm.ts'

test('one stage, two, and four of which one is killed train on the same tokens in every step', async () => {
  const folder = temporaryFolder()
  const texts = Array.from({ length: 200 }, (_, i) => sentences(i, 30))
  const { out } = await makeDataset(folder, [write(folder, 'a.jsonl', jsonLines(texts))])
  const { dataset, sha256 } = readDataset(out)
  const data = { source: 'prepared:dataset', sha256, bytes: 1, heldOut: 0.2 }

  const history = async (stages: number, deaths: Scenario['deaths']) => {
    const run = tinyRun({ steps: 5, stages, data })
    const files = new ShardFiles(join(folder, 'dataset'))
    const given = new Map<string, string>()
    const corpus = new (class extends PreparedCorpus {
      override microbatch(step: number, index: number) {
        const tokens = super.microbatch(step, index)
        const known = given.get(`${step}/${index}`)
        const own = JSON.stringify(tokens)
        // A step that restarts, and a backward pass, read the same tokens as the first forward pass.
        if (known !== undefined) expect(own).toBe(known)
        given.set(`${step}/${index}`, own)
        return tokens
      }
    })(run, dataset, files)
    const swarm = { spares: 1, deaths, replaced: false }
    const world = { link: DEFAULT_LINK, costMs: DEFAULT_COSTS, limitMs: 600_000 }
    const { finished, entries } = await play({ run, corpus, ...swarm, ...world })
    files.close()
    expect(finished).toEqual({ committed: 5, failure: null })
    return { given, losses: entriesOf(entries, 'step').map(({ loss }) => loss) }
  }

  const one = await history(1, [])
  const two = await history(2, [])
  const killed = await history(4, [{ stage: 2, step: 2 }])
  expect(one.given.size).toBe(5 * tinyRun().microbatches)
  expect(two.given).toEqual(one.given)
  expect(killed.given).toEqual(one.given)
  // The same model with another number of stages learns the same from the tokens.
  expect(two.losses).toBeAllclose(one.losses, { relative: 1e-5 })
})

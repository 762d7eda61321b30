/** The walks of docs/ARCHITECTURE.md: each named function exists, and names the next one. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { temporaryFolder } from '../fixtures/folder.ts'
import { ROOT, readSource } from './sources.ts'
import { faultsOf, readWalks } from './walks.ts'

const SRC_FILES_MAX = 14

const walks = readWalks(readSource(ROOT, 'docs/ARCHITECTURE.md'))

test('the page walks along one microbatch and one lost stage', () => {
  expect(walks.map(({ title }) => title)).toEqual(['one microbatch', 'one lost stage'])
})

describe.each(walks)('$title', (walk) => {
  test('each function exists, and names the next one', () => {
    expect(faultsOf(ROOT, walk)).toEqual([])
    expect(walk.steps.length).toBeGreaterThan(8)
  })

  test(`at most ${SRC_FILES_MAX} files of src`, () => {
    const files = new Set(
      walk.steps.map(({ path }) => path).filter((path) => path.startsWith('src/')),
    )
    expect(files.size).toBeLessThanOrEqual(SRC_FILES_MAX)
  })

  test('each step is one sentence', () => {
    for (const { sentence } of walk.steps) {
      expect(sentence).toMatch(/^[^.]*(\.\w[^.]*)*\.$/)
      expect(sentence.split(' ').length, sentence).toBeLessThanOrEqual(25)
    }
  })
})

describe('a walk that is not true to the code', () => {
  /** A folder with one file of two functions, and the faults of a walk along it. */
  function faults(...lines: string[]): string[] {
    const root = temporaryFolder()
    mkdirSync(join(root, 'src'))
    writeFileSync(
      join(root, 'src/a.ts'),
      'class Step {\n  #open() {\n    // close\n    send("prepare")\n  }\n}\nconst answer = () => table.prepare\n',
    )
    return faultsOf(root, readWalks(`# Walk: some\n${lines.join('\n')}\n`)[0]!)
  }

  test('names a function that the file lacks', () => {
    expect(faults('1. `src/a.ts`, `opened`: Opens.')).toEqual([
      '1. src/a.ts opened: the file has no such function.',
    ])
    expect(faults('1. `src/b.ts`, `open`: Opens.')).toHaveLength(1)
    expect(faults('1. `src/a.ts`, `Steps.#open`: Opens.')).toHaveLength(1)
  })

  test('names a call that the function does not make, even if a comment has the word', () => {
    const [fault] = faults(
      '1. `src/a.ts`, `Step.#open`: Opens. → `close`',
      '2. `src/a.ts`, `answer`: Answers.',
    )
    expect(fault).toBe('1. src/a.ts Step.#open: the function never names close.')
  })

  test('skips from one function to another that nothing leads to', () => {
    const [fault] = faults(
      '1. `src/a.ts`, `Step.#open`: Opens. → `send`',
      '2. `src/a.ts`, `answer`: Answers.',
    )
    expect(fault).toContain('send is neither the function of the next step nor named in it')
    expect(
      faults('1. `src/a.ts`, `Step.#open`: Opens.', '2. `src/a.ts`, `answer`: Answers.'),
    ).toHaveLength(1)
  })

  test('a question over the network is named on both sides', () => {
    expect(
      faults(
        '1. `src/a.ts`, `Step.#open`: Opens. → over the network, `prepare`',
        '2. `src/a.ts`, `answer`: Answers.',
      ),
    ).toEqual([])
  })

  test('an item in another form is refused', () => {
    expect(() => readWalks('## Walk: x\n1. Some text.\n')).toThrow('A step of a walk has the form')
  })
})

"""Makes what the tokenizer tests compare with, by Hugging Face's Rust library:  pip install tokenizers==0.23.2; python make.py

NAME.json is a small tokenizer of each kind, NAME.ids.json its tokens of every line of torture.txt and of the whole text.
trained.json is what the reference trains on training.txt with byte-level BPE, for `gensyn-node tokenizer train`."""
import json
from tokenizers import Tokenizer, Regex, AddedToken, models, normalizers, pre_tokenizers, decoders, trainers

torture = open('torture.txt', encoding='utf-8', newline='').read()
training = open('training.txt', encoding='utf-8', newline='').read()
alphabet = pre_tokenizers.ByteLevel.alphabet()
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def bpe(pre, normalizer=None, size=700, texts=None):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre
    if normalizer: tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=['<|endoftext|>'], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts or training.splitlines(keepends=True), trainer)
    return tokenizer


def unigram(**options):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(**options)
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=500, special_tokens=['<unk>', '</s>'], unk_token='<unk>', show_progress=False)
    tokenizer.train_from_iterator(training.splitlines(), trainer)
    return tokenizer


def llama2():
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token='<unk>'))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend('▁'), normalizers.Replace(' ', '▁')])
    pre = pre_tokenizers.Split(Regex('▁+'), 'merged_with_next')
    tokenizer.pre_tokenizer = pre
    special = ['<unk>', '<s>', '</s>'] + [f'<0x{byte:02X}>' for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=special, limit_alphabet=120, show_progress=False)
    tokenizer.train_from_iterator(training.splitlines(), trainer)
    made = json.loads(tokenizer.to_str())
    made['pre_tokenizer'] = None  # as Llama 2 has it: one word a text
    made['added_tokens'] = made['added_tokens'][:3]
    tokenizer = Tokenizer.from_str(json.dumps(made))
    tokenizer.decoder = decoders.Sequence([decoders.Replace('▁', ' '), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(' ', 1, 0)])
    return tokenizer


def with_tokens(tokenizer):
    tokenizer.add_special_tokens([AddedToken('<|sep|>', lstrip=True, rstrip=True)])
    tokenizer.add_tokens([AddedToken('Straße', normalized=True)])
    return tokenizer


kinds = {
    'gpt2': with_tokens(bpe(pre_tokenizers.ByteLevel(add_prefix_space=False))),
    'prefix': bpe(pre_tokenizers.ByteLevel(add_prefix_space=True)),
    'llama3': with_tokens(bpe(pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), 'isolated'), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]), normalizers.NFC())),
    'digits': bpe(pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)])),
    'unigram': unigram(),
    'first': unigram(prepend_scheme='first'),
    'llama2': llama2(),
}
for name, tokenizer in kinds.items():
    tokenizer.save(f'{name}.json', pretty=False)
    ids = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    golden = {'whole': ids(torture), 'lines': [ids(line) for line in torture.split('\n')]}
    json.dump(golden, open(f'{name}.ids.json', 'w'), separators=(',', ':'))
bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), size=1000, texts=[training]).save('trained.json', pretty=False)

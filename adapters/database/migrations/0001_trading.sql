-- The trading schema. Every table has a primary key, so that logical replication can carry it.

-- The ledger of effects: an event stands here once it has taken effect, and only once a group.
create table trading.processed_events (
    consumer_group text not null,
    event_id text not null,
    topic text not null,
    key text not null,
    sequence bigint,
    payload_sha256 bytea not null,
    effect_no bigint generated always as identity,
    processed_at timestamptz not null default now(),
    primary key (consumer_group, event_id)
);
create index processed_events_processed_at on trading.processed_events using brin (processed_at);

-- One row a key, updated with each batch: room on its page keeps those updates out of the index.
create table trading.strategy_states (
    strategy text not null,
    key text not null,
    symbol text not null default '',
    last_price numeric,
    state text not null default '',
    updated_at timestamptz not null default now(),
    primary key (strategy, key)
) with (fillfactor = 50);

create table trading.positions (
    strategy text not null,
    key text not null,
    symbol text not null,
    quantity numeric not null,
    average_price numeric not null,
    realized_pnl numeric not null,
    updated_at timestamptz not null default now(),
    primary key (strategy, key)
) with (fillfactor = 50);

create table trading.signals (
    signal_id text primary key,
    number bigint generated always as identity unique,
    strategy text not null,
    key text not null,
    symbol text not null,
    side text not null check (side in ('buy', 'sell')),
    price numeric not null,
    bar_date date not null,
    source_event_id text not null,
    comment text,
    commented_at timestamptz,
    created_at timestamptz not null default now(),
    unique (strategy, source_event_id)
);
create index signals_by_key on trading.signals (key, number);

create table trading.orders (
    order_id text primary key,
    number bigint generated always as identity unique,
    signal_id text not null references trading.signals (signal_id),
    strategy text not null,
    key text not null,
    symbol text not null,
    side text not null check (side in ('buy', 'sell')),
    quantity numeric not null check (quantity > 0),
    status text not null default 'open' check (status in ('open', 'filled')),
    source_event_id text not null,
    fill_price numeric,
    fill_event_id text,
    created_at timestamptz not null default now(),
    filled_at timestamptz,
    check ((status = 'filled') = (fill_price is not null))
);
create index orders_by_key on trading.orders (key, number);

-- Signals on their way to the bus: written with their cause, marked once durable there.
create table trading.outbox (
    event_id text primary key,
    number bigint generated always as identity unique,
    topic text not null,
    key text not null,
    type text not null,
    source text not null,
    time text not null,
    content_type text not null,
    schema_version text not null,
    payload bytea not null,
    created_at timestamptz not null default now(),
    sent_at timestamptz
);
create index outbox_unsent on trading.outbox (number) where sent_at is null;
create index outbox_sent on trading.outbox (sent_at) where sent_at is not null;

create table trading.leases (
    name text primary key,
    holder text not null,
    expires_at timestamptz not null
);

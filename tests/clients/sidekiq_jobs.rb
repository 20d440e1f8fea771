# SPDX-License-Identifier: Apache-2.0
# Jobs of Sidekiq.  sidekiq -r sidekiq_jobs.rb serves them; ruby sidekiq_jobs.rb enqueues them and waits.
require "sidekiq"
require "sidekiq/api"

options = { path: ENV.fetch("SIDEKIQ_SOCKET") }
Sidekiq.configure_server { |c| c.redis = options; c.options[:poll_interval_average] = 1 }
Sidekiq.configure_client { |c| c.redis = options }

class Add
  include Sidekiq::Worker

  def perform(list, a, b)
    Sidekiq.redis { |r| r.rpush(list, a + b) }
  end
end

class SecondTime
  include Sidekiq::Worker
  sidekiq_options retry: 2
  sidekiq_retry_in { 0 }

  def perform(list)
    raise "not yet" if Sidekiq.redis { |r| r.incr("#{list}:tries") } < 2
    Sidekiq.redis { |r| r.rpush(list, "second time") }
  end
end

if $0 == __FILE__
  redis = Redis.new(**options)
  20.times { |i| Add.perform_async("sums", i, i) }
  Sidekiq::Client.push_bulk("class" => Add, "args" => 30.times.map { |i| ["bulk", i, 1] })
  late = ENV["PURSER_LONG"] == "1" # its scheduler looks for the first time after ten seconds
  Add.perform_in(1, "later", 40, 2)
  SecondTime.perform_async("again")
  take = lambda { |list, n| n.times.map { redis.brpop(list, timeout: 120)[1] } }
  sums = take.call("sums", 20).map(&:to_i).sort
  raise "sums: #{sums}" unless sums == 20.times.map { |i| i + i }
  bulk = take.call("bulk", 30).map(&:to_i).sort
  raise "bulk: #{bulk}" unless bulk == 30.times.map { |i| i + 1 }
  raise "later" unless !late || take.call("later", 1) == ["42"]
  raise "again" unless !late || take.call("again", 1) == ["second time"]
  raise "jobs are left" unless Sidekiq::Queue.new.size == 0
  puts "sidekiq #{Sidekiq::VERSION}"
end
